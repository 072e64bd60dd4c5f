//! A gateway in one process with services that answer as a test tells them. Their fronts check tokens like real ones.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use diwan_launch::Component as _;
use diwan_proto::{
    access::v1::Role,
    team::v1::{ListTeamsRequest, ListTeamsResponse, team_service_client::TeamServiceClient},
};
use diwan_runtime::{Env, SystemClock};
use diwan_testkit::{Person, World, reason};
use diwan_transport::{Front, GrpcService, Network, SERVICES, bind, serve};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Status, body::Body};
use tonic_types::StatusExt as _;

pub const LIMIT: Duration = Duration::from_secs(30);

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Method = Box<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

/// A service whose methods are closures, by the last part of their paths.
#[derive(Default)]
pub struct Scripted(HashMap<&'static str, Method>);

impl Scripted {
    /// Answers `method` with what `answer` gives.
    pub fn on<F>(mut self, method: &'static str, answer: impl Fn(Request<Body>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        self.0.insert(method, Box::new(move |request| Box::pin(answer(request))));
        self
    }

    /// Answers `method` with `message`, always.
    pub fn says(self, method: &'static str, message: &impl prost::Message) -> Self {
        let bytes = encoded(message);
        self.on(method, move |_| std::future::ready(good(bytes.clone())))
    }
}

impl GrpcService for Scripted {
    fn answer(&self, request: Request<Body>) -> Answer {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        match self.0.get(method.as_str()) {
            Some(method) => method(request),
            None => Box::pin(async { Status::unimplemented("not in this test").into_http() }),
        }
    }
}

/// `message` behind its length.
pub fn encoded(message: &impl prost::Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// The answer of a call that went well.
pub fn good(message: Bytes) -> Response<Body> {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

/// A world with the services of `scripts`; the others have not started.
pub fn world(scripts: impl IntoIterator<Item = (&'static str, Scripted)>) -> World {
    let world = World::new(SystemClock::shared());
    for (service, script) in scripts {
        start(&world, service, script);
    }
    world
}

/// Starts one more.
pub fn start(world: &World, service: &'static str, script: Scripted) {
    let front = Front::new(service, world.admission.clone(), script);
    world.network.slot(service).unwrap().fill(front);
}

/// The gateway of `world` with these settings.
pub async fn gateway(world: &World, settings: &[(&str, &str)]) -> Front {
    gateway_to(world, world.network.clone(), settings).await
}

/// The gateway of `world` in front of services somewhere else.
pub async fn gateway_to(world: &World, network: Network, settings: &[(&str, &str)]) -> Front {
    let env = settings.iter().fold(Env::default(), |env, (name, value)| env.with(*name, *value));
    let context = diwan_launch::Context { network, ..world.context("gateway", env) };
    diwan_gateway::Service.start(context).await.unwrap()
}

/// Some user of some account.
pub fn somebody() -> Person {
    Person::owner().colleague(Role::User)
}

/// One read as `person`.
pub async fn list_teams(world: &World, gateway: &Front, person: &Person) -> Result<ListTeamsResponse, Status> {
    let request = world.request(person, ListTeamsRequest::default());
    Ok(TeamServiceClient::new(gateway.clone()).list_teams(request).await?.into_inner())
}

/// The reason of a refusal, which says when to come back.
pub fn refused_for_now(status: &Status) -> String {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| delay > Duration::ZERO), "no RetryInfo: {status:?}");
    reason(status)
}

/// Counts calls.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// One more; which one it is, from 1.
    pub fn one(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Serves `gateway` on a port of its own until the world ends.
pub async fn listen(world: &World, gateway: Front) -> SocketAddr {
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, gateway, world.drain.clone(), Duration::ZERO));
    address
}

/// A network in which `service` is at `address` and nobody at the others'.
pub fn remote(service: &str, address: SocketAddr) -> Network {
    let env = SERVICES.into_iter().fold(Env::default(), |env, name| {
        let address = if name == service { address } else { ([127, 0, 0, 1], 1).into() };
        env.with(format!("DIWAN_{}_ADDRESS", name.to_uppercase()), format!("http://{address}"))
    });
    Network::remote(&env).unwrap()
}

/// Writes a call as it stands on the wire of HTTP/1.1, and returns what is answered, also where the other side does not read to the end.
pub async fn posted(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len().to_string();
    let headers = headers.iter().copied().chain([("Content-Length", &*length)]);
    let lines: String = headers.flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let head = format!("POST {path} HTTP/1.1\r\nHost: diwan\r\nConnection: close\r\n{lines}\r\n");
    let written = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.is_empty(), "{written:?}, {read:?}");
    String::from_utf8_lossy(&answer).into_owned()
}
