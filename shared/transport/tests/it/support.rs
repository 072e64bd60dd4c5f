//! A service that answers with whatever a test likes, and both ways to it.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use diwan_runtime::{Drain, Env, SystemClock};
use diwan_testkit::World;
use diwan_transport::{Front, GrpcService, Network, SERVICES, Transport, bind, serve};
use futures::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use tonic::{Request, Response, Status, Streaming, body::Body, client, server, server::ServerStreamingService};
use tonic_prost::ProstCodec;

/// A method for anybody.
pub const OPEN: &str = "/diwan.identity.v1.SessionService/SignIn";
/// A method for the service identity.
pub const INNER: &str = "/diwan.billing.v1.SeatService/TakeSeat";
/// How long a test waits for what ought to come.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What a call is answered with.
pub type Words = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Words>, Status>> + Send>>;

/// The service `billing`, as far as these tests are concerned.
#[derive(Clone)]
pub struct Fake(Arc<dyn Fn(Request<String>) -> Answer + Send + Sync>);

impl Fake {
    /// Answers with one word.
    pub fn new<A>(answer: impl Fn(Request<String>) -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<String, Status>> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let word = answer(request);
            Box::pin(async move { Ok(Response::new(stream::iter([Ok(word.await?)]).boxed())) })
        }))
    }

    /// Answers with a stream.
    pub fn streaming(words: impl Fn() -> Words + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |_| {
            let words = words();
            Box::pin(async move { Ok(Response::new(words)) })
        }))
    }

    /// The way in.
    pub fn front(self, world: &World) -> Front {
        Front::new("billing", world.admission.clone(), self)
    }
}

impl ServerStreamingService<String> for Fake {
    type Response = String;
    type ResponseStream = Words;
    type Future = Answer;

    fn call(&mut self, request: Request<String>) -> Answer {
        self.0(request)
    }
}

impl GrpcService for Fake {
    fn answer(&self, request: http::Request<Body>) -> Pin<Box<dyn Future<Output = http::Response<Body>> + Send>> {
        let fake = self.clone();
        let mut codec = server::Grpc::new(ProstCodec::<String, String>::default());
        Box::pin(async move { codec.server_streaming(fake, request).await })
    }
}

/// Keys, rules and a verifier that has heard of identity.
pub fn world() -> World {
    World::new(SystemClock::shared())
}

/// `fake` in this process, and behind a real port.
pub async fn both(world: &World, fake: Fake) -> [(&'static str, Network); 2] {
    let local = Network::local();
    local.slot("billing").unwrap().fill(fake.clone().front(world));
    let address = listen(fake.front(world), &world.drain).await;
    [("local", local), ("remote", remote(address))]
}

/// Serves until `drain` begins.
pub async fn listen(front: Front, drain: &Drain) -> SocketAddr {
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, front, drain.clone(), LIMIT));
    address
}

/// A network in which every service is at `address`.
pub fn remote(address: SocketAddr) -> Network {
    let env = SERVICES.iter().fold(Env::default(), |env, service| {
        env.with(format!("DIWAN_{}_ADDRESS", service.to_uppercase()), format!("http://{address}"))
    });
    Network::remote(&env).unwrap()
}

/// Asks for one word.
pub async fn ask(way: Transport, path: &'static str, request: Request<String>) -> Result<String, Status> {
    let codec = ProstCodec::<String, String>::default();
    let mut client = client::Grpc::new(way);
    let answer = client.unary(request, PathAndQuery::from_static(path), codec);
    let answer = tokio::time::timeout(LIMIT, answer).await.expect("an answer, whatever it is");
    answer.map(Response::into_inner)
}

/// Asks for a stream.
pub async fn hear(way: Transport, request: Request<String>) -> Result<Streaming<String>, Status> {
    let codec = ProstCodec::<String, String>::default();
    let answer = client::Grpc::new(way).server_streaming(request, PathAndQuery::from_static(OPEN), codec).await;
    answer.map(Response::into_inner)
}

/// The error that a stream ends with.
pub async fn end_of(mut words: Streaming<String>) -> Status {
    let end = async {
        loop {
            match words.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(LIMIT, end).await.expect("the end of the stream")
}

/// A request without a word.
pub fn request() -> Request<String> {
    Request::new(String::new())
}
