//! Who asks for too much is refused, and nobody else.

use std::net::SocketAddr;

use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        Availability, WatchInboxRequest, WatchInboxResponse, inbox_service_client::InboxServiceClient,
        watch_inbox_response::Event,
    },
    identity::v1::{SignInRequest, SignInResponse, session_service_client::SessionServiceClient},
    team::v1::{CreateTeamRequest, CreateTeamResponse, ListTeamsResponse, team_service_client::TeamServiceClient},
};
use diwan_testkit::{Person, World, eventually, metadata};
use diwan_transport::{Front, Peer};
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Request, Status, Streaming, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{LIMIT, Scripted, encoded, gateway, good, list_teams, refused_for_now, somebody, world};

fn team() -> Scripted {
    Scripted::default()
        .says("ListTeams", &ListTeamsResponse::default())
        .says("CreateTeam", &CreateTeamResponse::default())
}

async fn create_team(world: &World, gateway: &Front, person: &Person) -> Result<(), Status> {
    let request = world.request(person, CreateTeamRequest::default());
    TeamServiceClient::new(gateway.clone()).create_team(request).await.map(drop)
}

fn rate_limited(refusal: &Status, scope: &str) -> bool {
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    refused_for_now(refusal) == "RATE_LIMITED" && metadata(refusal, "scope").as_deref() == Some(scope)
}

#[tokio::test]
async fn a_user_who_writes_too_much_is_refused_and_goes_on_reading_as_do_his_colleagues() {
    let world = world([("team", team())]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_LIMIT_USER_WRITE", "1/3")]).await;
    let eager = Person::owner();
    let colleague = eager.colleague(Role::Admin);
    let mut refusals = Vec::new();
    for _ in 0..20 {
        refusals.extend(create_team(&world, &gateway, &eager).await.err());
    }
    // One a second comes back while it runs: three at once, and no more than a few after them.
    assert!((10..=17).contains(&refusals.len()), "{}", refusals.len());
    assert!(rate_limited(&refusals[0], "user"), "{:?}", refusals[0]);
    list_teams(&world, &gateway, &eager).await.unwrap();
    create_team(&world, &gateway, &colleague).await.unwrap();
}

#[tokio::test]
async fn an_account_has_one_limit_for_all_of_its_users_and_none_for_others() {
    let world = world([("team", team())]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_LIMIT_ACCOUNT_READ", "1/4")]).await;
    let owner = Person::owner();
    let mut refusals = Vec::new();
    for _ in 0..30 {
        refusals.extend(list_teams(&world, &gateway, &owner.colleague(Role::User)).await.err());
    }
    assert!(refusals.len() >= 15 && rate_limited(&refusals[0], "account"), "{refusals:?}");
    list_teams(&world, &gateway, &somebody()).await.unwrap();
}

#[tokio::test]
async fn an_address_that_signs_in_too_often_is_refused_before_anybody_is_known() {
    let world = world([("identity", Scripted::default().says("SignIn", &SignInResponse::default()))]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_LIMIT_ADDRESS_SIGN_IN", "1/2")]).await;
    let sign_in = async |peer: &str| {
        let mut request = Request::new(SignInRequest::default());
        request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        SessionServiceClient::new(gateway.clone()).sign_in(request).await
    };
    let mut refusals = Vec::new();
    for port in 1..=20 {
        // Another port, and another address of the same subscriber, are the same caller.
        refusals.extend(sign_in(&format!("[2001:db8::{port}]:{port}")).await.err());
    }
    assert!(refusals.len() >= 10 && rate_limited(&refusals[0], "address"), "{refusals:?}");
    sign_in("[2001:db8:0:1::1]:1").await.unwrap();
    for _ in 0..50 {
        let mut check = Request::new(HealthCheckRequest { service: String::new() });
        check.extensions_mut().insert(Peer("[2001:db8::1]:1".parse().unwrap()));
        HealthClient::new(gateway.clone()).check(check).await.unwrap();
    }
}

fn inbox() -> Scripted {
    Scripted::default().on("WatchInbox", |_| async {
        let ready = WatchInboxResponse { cursor: String::new(), event: Some(Event::Ready(Availability::default())) };
        let first = Full::new(encoded(&ready));
        // Open for as long as the client wants.
        let body =
            first.with_trailers(std::future::pending::<Option<Result<http::HeaderMap, std::convert::Infallible>>>());
        good(bytes::Bytes::new()).map(|_| Body::new(body))
    })
}

async fn watch(world: &World, gateway: &Front, person: &Person) -> Result<Streaming<WatchInboxResponse>, Status> {
    let request = world.request(person, WatchInboxRequest::default());
    let mut stream = InboxServiceClient::new(gateway.clone()).watch_inbox(request).await?.into_inner();
    assert!(stream.message().await?.is_some());
    Ok(stream)
}

#[tokio::test]
async fn a_user_has_so_many_streams_and_closing_one_makes_room() {
    let world = world([("conversation", inbox())]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_STREAMS_PER_USER", "2")]).await;
    let (person, other) = (somebody(), somebody());
    let watch = async |person: &Person| watch(&world, &gateway, person).await;
    let (first, _second) = (watch(&person).await.unwrap(), watch(&person).await.unwrap());
    let refusal = watch(&person).await.unwrap_err();
    assert_eq!((refusal.code(), refused_for_now(&refusal).as_str()), (Code::ResourceExhausted, "TOO_MANY_STREAMS"));
    let _others = watch(&other).await.unwrap();
    drop(first);
    eventually("there is room again", LIMIT, async || watch(&person).await.is_ok()).await;
}

#[tokio::test]
async fn an_account_has_an_eighth_of_all_streams_and_takes_nothing_from_others() {
    let world = world([("conversation", inbox())]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_STREAMS", "16")]).await;
    let watch = async |person: &Person| watch(&world, &gateway, person).await;
    let owner = Person::owner();
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(watch(&owner.colleague(Role::User)).await.unwrap());
    }
    let one_more = owner.colleague(Role::Admin);
    let refusal = watch(&one_more).await.unwrap_err();
    let refused = (refusal.code(), refused_for_now(&refusal));
    assert_eq!(refused, (Code::ResourceExhausted, "TOO_MANY_STREAMS_OF_ACCOUNT".to_owned()));
    let _others = watch(&somebody()).await.unwrap();
    open.pop();
    eventually("there is room again", LIMIT, async || watch(&one_more).await.is_ok()).await;
}

#[tokio::test]
async fn a_gateway_carries_so_many_streams_and_not_one_more_whoever_asks_until_one_is_closed() {
    let world = world([("conversation", inbox())]);
    let settings = [("DIWAN_GATEWAY_STREAMS", "3"), ("DIWAN_GATEWAY_STREAMS_PER_ACCOUNT", "3")];
    let gateway = gateway(&world, &settings).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(watch(&world, &gateway, &somebody()).await.unwrap());
    }
    let refusal = watch(&world, &gateway, &somebody()).await.unwrap_err();
    assert_eq!((refusal.code(), refused_for_now(&refusal).as_str()), (Code::ResourceExhausted, "GATEWAY_FULL"));
    open.pop();
    eventually("there is room again", LIMIT, async || watch(&world, &gateway, &somebody()).await.is_ok()).await;
}

#[tokio::test]
async fn a_setting_that_is_no_rate_ends_the_start() {
    let world = world([]);
    let env = diwan_runtime::Env::default().with("DIWAN_GATEWAY_LIMIT_USER_READ", "many");
    let started = diwan_launch::Component::start(&diwan_gateway::Service, world.context("gateway", env)).await;
    assert!(started.err().unwrap().to_string().contains("DIWAN_GATEWAY_LIMIT_USER_READ"));
}
