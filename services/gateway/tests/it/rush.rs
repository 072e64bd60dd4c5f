//! Many who want in at one moment.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use diwan_proto::{
    identity::v1::{
        ListUsersRequest, ListUsersResponse, RefreshSessionRequest, RefreshSessionResponse, SignInRequest,
        SignInResponse, session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
    },
    team::v1::ListTeamsResponse,
};
use diwan_testkit::{Person, eventually, metadata, reason};
use diwan_transport::Front;
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::support::{Count, LIMIT, Scripted, encoded, gateway, good, list_teams, listen, refused_for_now, world};

const CROWD: usize = 1000;
const CONNECTIONS: usize = 10;
const ROOM: usize = 20;

/// How many sign-ins are in the service, and the most there have been; they stay until they are let go.
#[derive(Clone)]
struct Line {
    inside: Arc<(AtomicUsize, AtomicUsize)>,
    go: Arc<Semaphore>,
}

impl Line {
    fn new() -> Self {
        Self { inside: Arc::default(), go: Arc::new(Semaphore::new(0)) }
    }

    fn identity(&self) -> Scripted {
        let (line, answer) = (self.clone(), encoded(&SignInResponse::default()));
        Scripted::default()
            .says("RefreshSession", &RefreshSessionResponse::default())
            .says("ListUsers", &ListUsersResponse::default())
            .on("SignIn", move |_| {
                let (line, answer) = (line.clone(), answer.clone());
                async move {
                    let now = line.inside.0.fetch_add(1, Ordering::SeqCst) + 1;
                    line.inside.1.fetch_max(now, Ordering::SeqCst);
                    drop(line.go.acquire().await);
                    line.inside.0.fetch_sub(1, Ordering::SeqCst);
                    good(answer)
                }
            })
    }
}

async fn sign_in(channel: Channel) -> Result<(), Status> {
    SessionServiceClient::new(channel).sign_in(SignInRequest::default()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_at_once_so_many_are_at_the_service_and_the_rest_is_told_when_to_come_again() {
    let line = Line::new();
    let world = world([("identity", line.identity())]);
    let settings = [("DIWAN_GATEWAY_SIGN_INS", "20"), ("DIWAN_GATEWAY_LIMIT_ADDRESS_SIGN_IN", "100000/100000")];
    let address = listen(&world, gateway(&world, &settings).await).await;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap());
    }
    let mut crowd = JoinSet::new();
    for place in 0..CROWD {
        crowd.spawn(sign_in(channels[place % CONNECTIONS].clone()));
    }
    for _ in ROOM..CROWD {
        let refusal = tokio::time::timeout(LIMIT, crowd.join_next()).await.unwrap().unwrap().unwrap().unwrap_err();
        assert_eq!((refusal.code(), refused_for_now(&refusal).as_str()), (Code::ResourceExhausted, "SIGN_IN_BUSY"));
    }
    eventually("the line is full", LIMIT, async || line.inside.0.load(Ordering::SeqCst) == ROOM).await;

    // Who has a session goes on, in the same service too.
    let channel = channels[0].clone();
    SessionServiceClient::new(channel.clone()).refresh_session(RefreshSessionRequest::default()).await.unwrap();
    let request = world.request(&Person::owner(), ListUsersRequest::default());
    UserServiceClient::new(channel.clone()).list_users(request).await.unwrap();

    line.go.close();
    while let Some(let_in) = crowd.join_next().await {
        let_in.unwrap().unwrap();
    }
    assert_eq!(line.inside.1.load(Ordering::SeqCst), ROOM, "the most there have been at a time");
    sign_in(channel).await.expect("there is room again");
}

/// One thread, so that the order is the runtime's.
#[tokio::test]
async fn a_call_that_comes_after_a_crowd_is_answered_before_it() {
    let answered = Count::default();
    let identity = Scripted::default().says("SignIn", &SignInResponse::default());
    let world =
        world([("identity", identity), ("team", Scripted::default().says("ListTeams", &ListTeamsResponse::default()))]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_LIMIT_ADDRESS_SIGN_IN", "100000/100000")]).await;
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (gateway, answered): (Front, Count) = (gateway.clone(), answered.clone());
        crowd.spawn(async move {
            let _ = SessionServiceClient::new(gateway).sign_in(SignInRequest::default()).await;
            answered.one()
        });
    }
    let before = tokio::spawn({
        let (world, gateway, person) = (world, gateway, Person::owner());
        async move {
            list_teams(&world, &gateway, &person).await.unwrap();
            (answered.get(), world)
        }
    });
    let (before, _world) = before.await.unwrap();
    assert!(before < CROWD / 4, "{before} of the crowd went first");
    assert_eq!(crowd.join_all().await.len(), CROWD);
}

#[tokio::test]
async fn a_request_to_get_in_that_is_longer_than_any_takes_nobodys_place() {
    let inside = Count::default();
    let (seen, answer) = (inside.clone(), encoded(&SignInResponse::default()));
    let identity = Scripted::default().on("SignIn", move |_| {
        inside.one();
        std::future::ready(good(answer.clone()))
    });
    let world = world([("identity", identity)]);
    let gateway = gateway(&world, &[]).await;
    let sign_in = async |length: usize| {
        let request = SignInRequest { password: "p".repeat(length), ..SignInRequest::default() };
        SessionServiceClient::new(gateway.clone()).sign_in(Request::new(request)).await
    };
    let refusal = sign_in(65_536).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(metadata(&refusal, "limit").as_deref(), Some("65536"));
    assert_eq!(seen.get(), 0);
    sign_in(60_000).await.unwrap();
}
