//! Every limit there is, one a class and scope, acts at the gateway itself.

use std::{future::Future, net::SocketAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use diwan_launch::Component as _;
use diwan_proto::access::v1::Role;
use diwan_runtime::SystemClock;
use diwan_testkit::{Person, World, metadata, reason};
use diwan_transport::{Front, GrpcService, Peer, SERVICES};
use futures::future::join_all;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::time::sleep;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;

use super::*;
use crate::methods::Methods;

/// Two calls, and one more a second: however slow the machine is, somebody comes too soon within it.
const LIMIT: Duration = Duration::from_secs(30);
/// An empty message behind its length.
const EMPTY: Bytes = Bytes::from_static(&[0; 5]);

/// A method of each class. A new class does not compile without one.
fn method(class: Class) -> &'static str {
    match class {
        Class::SignIn => "/diwan.identity.v1.SessionService/SignIn",
        Class::Read => "/diwan.team.v1.TeamService/ListTeams",
        Class::Write => "/diwan.team.v1.TeamService/CreateTeam",
        Class::Stream => "/diwan.conversation.v1.InboxService/WatchInbox",
    }
}

/// A service that answers everything.
struct Obliging;

impl GrpcService for Obliging {
    fn answer(&self, _: Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let body = Full::new(EMPTY).with_trailers(std::future::ready(Some(Ok(trailers))));
        let answer = Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap();
        Box::pin(std::future::ready(answer))
    }
}

/// The real gateway with one tight limit, and who calls there.
struct Cell {
    world: World,
    gateway: Front,
    scope: &'static str,
    class: Class,
    owner: Person,
}

impl Cell {
    async fn new(scope: &'static str, class: Class) -> Self {
        let world = World::new(SystemClock::shared());
        for service in SERVICES {
            let front = Front::new(service, world.admission.clone(), Obliging);
            world.network.slot(service).unwrap().fill(front);
        }
        let setting = format!("DIWAN_GATEWAY_LIMIT_{}_{}", scope.to_uppercase(), name(class));
        let context = world.context("gateway", Env::default().with(setting, "1/2"));
        let gateway = crate::Service.start(context).await.unwrap();
        Self { world, gateway, scope, class, owner: Person::owner() }
    }

    async fn call(&self, class: Class, person: &Person, address: SocketAddr) -> Result<(), Status> {
        let request = Request::post(format!("http://diwan{}", method(class))).extension(Peer(address));
        let token = format!("Bearer {}", self.world.token(person));
        let request = request.header("content-type", "application/grpc").header("authorization", token);
        let answer = self.gateway.answer(request.body(Body::new(Full::new(EMPTY))).unwrap()).await;
        Status::from_header_map(answer.headers()).map_or(Ok(()), Err)
    }

    /// The `n`th of those who share this cell's limit and no other one.
    fn one_of_them(&self, n: u8) -> (Person, SocketAddr) {
        match self.scope {
            "address" => (Person::owner(), address(1)),
            "user" => (self.owner.clone(), address(n)),
            "account" => (self.owner.colleague(Role::Admin), address(n)),
            other => panic!("no row for the scope {other}"),
        }
    }

    /// Somebody as close to them as can be who has a limit of his own.
    fn another(&self) -> (Person, SocketAddr) {
        match self.scope {
            "address" => (self.owner.clone(), address(200)),
            "user" => (self.owner.colleague(Role::Admin), address(1)),
            _ => (Person::owner(), address(1)),
        }
    }

    async fn acts(&self) {
        let (cell, began) = ((self.scope, self.class), Instant::now());
        let mut turns = (1..100).cycle();
        let refused = loop {
            let (person, address) = self.one_of_them(turns.next().unwrap_or_default());
            if let Err(refused) = self.call(self.class, &person, address).await {
                break refused;
            }
            assert!(began.elapsed() < LIMIT, "{cell:?}: nobody was refused");
        };
        let told = (refused.code(), reason(&refused), metadata(&refused, "scope"));
        assert_eq!(told, (Code::ResourceExhausted, "RATE_LIMITED".into(), Some(self.scope.into())), "{cell:?}");

        let (person, address) = self.another();
        self.call(self.class, &person, address).await.unwrap_or_else(|other| panic!("{cell:?}, another: {other}"));
        let (person, address) = self.one_of_them(100);
        for class in Class::ALL.into_iter().filter(|class| *class != self.class) {
            self.call(class, &person, address).await.unwrap_or_else(|other| panic!("{cell:?}, {class:?}: {other}"));
        }

        let wait = refused.get_details_retry_info().and_then(|info| info.retry_delay);
        let wait = wait.filter(|wait| !wait.is_zero()).unwrap_or_else(|| panic!("{cell:?}: no time to come again"));
        sleep(wait).await;
        self.call(self.class, &person, address).await.unwrap_or_else(|again| panic!("{cell:?}, in time: {again}"));
    }
}

fn address(n: u8) -> SocketAddr {
    ([192, 0, 2, n], 4711).into()
}

#[tokio::test]
async fn each_limit_refuses_whom_it_is_for_until_the_time_it_tells_and_nobody_else() {
    let methods = Methods::load(&diwan_access::Rules::load().unwrap()).unwrap();
    for class in Class::ALL {
        assert_eq!(methods.of(method(class)).unwrap().class, class);
    }
    assert!(methods.all().all(|method| Class::ALL.contains(&method.class)), "a class has no limits");
    let cells = Class::ALL.into_iter().flat_map(|class| scopes(class).iter().map(move |scope| (*scope, class)));
    let acted = join_all(cells.map(async |(scope, class)| Cell::new(scope, class).await.acts().await)).await;
    // Whoever signs in is nobody yet: of that class there is his address' limit alone.
    assert_eq!(acted.len(), SCOPES.len() * (Class::ALL.len() - 1) + 1);
}
