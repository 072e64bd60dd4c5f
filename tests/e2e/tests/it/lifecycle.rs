//! Starting, ending, crashing and starting again; deadlines and operators.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use diwan_e2e::{
    door::{Door, request_id},
    installation::{Installation, Options, Topology, postgres_programs},
};
use diwan_proto::{
    billing::v1::{SetSeatLimitRequest, subscription_service_client::SubscriptionServiceClient},
    conversation::v1::{WatchInboxRequest, inbox_service_client::InboxServiceClient},
    identity::v1::{SignInRequest, session_service_client::SessionServiceClient},
};
use http::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tonic::{Code, Request, body::Body};

use crate::support::{PASSWORD, sign_up, start};

fn options(home: &std::path::Path) -> Options {
    Options {
        topology: Topology::Suite,
        home: home.to_owned(),
        postgres: postgres_programs().unwrap(),
        settings: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_survives_an_orderly_end_and_a_kill_and_a_second_start_is_quick() {
    let folder = tempfile::TempDir::new().unwrap();
    let first = Installation::start(options(folder.path())).await.unwrap();
    let owner = sign_up(&Door::open(first.gateway()).await.unwrap(), "Lasting").await;
    first.stop().await.unwrap();

    let begun = Instant::now();
    let second = Installation::start(options(folder.path())).await.unwrap();
    // The bar is 3 s on an idle machine; tests run side by side.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let again = Door::open(second.gateway()).await.unwrap().sign_in(&owner.user.email, PASSWORD).await.unwrap();
    assert_eq!(again.user.id, owner.user.id);

    let pid = second.pid("diwan").unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    drop(second);

    let third = Installation::start(options(folder.path())).await.unwrap();
    Door::open(third.gateway()).await.unwrap().sign_in(&owner.user.email, PASSWORD).await.unwrap();
    third.stop().await.unwrap();
    assert_eq!(processes_in(folder.path()), Vec::<String>::new(), "something was left running");
}

/// The processes whose command line names a folder.
fn processes_in(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let commands = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = commands.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    commands.map(|command| command.replace('\0', " ")).filter(|command| command.contains(&folder)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_open_streams_and_the_process_in_good_time() {
    let fresh = start(Topology::Suite, &[]).await;
    let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Draining").await;
    let mut client = InboxServiceClient::new(owner.way());
    let mut stream = client.watch_inbox(WatchInboxRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let begun = Instant::now();
    let reader = tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    fresh.installation.stop().await.unwrap();
    reader.await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}: the grace period had to be used up");
}

/// A client without a timer of its own: tonic's turns a passed deadline into CANCELLED before the answer is there.
fn patient(address: SocketAddr) -> (Client<HttpConnector, Body>, Uri) {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    (client, format!("http://{address}").parse().unwrap())
}

fn within<M>(timeout: &str, token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_is_deadline_exceeded_in_both_topologies() {
    for topology in [Topology::Suite, Topology::Separate] {
        let fresh = start(topology, &[]).await;
        let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Hasty").await;
        let token = &owner.tokens.access_token;
        let (client, origin) = patient(fresh.installation.gateway());
        // Signing in costs an argon2 run, tens of milliseconds: it cannot be done in five.
        let sign_in =
            SignInRequest { email: owner.user.email.clone(), password: PASSWORD.into(), ..Default::default() };
        let mut sessions = SessionServiceClient::with_origin(client.clone(), origin.clone());
        let status = sessions.sign_in(within("5m", token, sign_in)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{topology:?}: {status}");

        // The head of a stream is there in time, its end is not.
        let mut inbox = InboxServiceClient::with_origin(client, origin);
        let watch = within("500m", token, WatchInboxRequest::default());
        let mut stream = inbox.watch_inbox(watch).await.unwrap().into_inner();
        let ended = loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{topology:?}: {ended}");
        fresh.installation.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_the_seats_of_an_account_with_a_token_from_the_command_line() {
    let fresh = start(Topology::Suite, &[]).await;
    let door = Door::open(fresh.installation.gateway()).await.unwrap();
    let owner = sign_up(&door, "Growing").await;
    let token = |scope: &str| {
        let diwan = std::env::current_exe().unwrap().with_file_name("../diwan");
        let mut command = std::process::Command::new(diwan);
        command.args(["operator-token", "--name", "test", "--expires", "5m", "--scope", scope]);
        command.env("DIWAN_KEYS", fresh.installation.keys()).output().unwrap()
    };
    let refused = token("billing.raed");
    assert!(!refused.status.success(), "a scope that no method asks for opens nothing: {refused:?}");
    let given = token("billing.write");
    assert!(given.status.success(), "{given:?}");
    let given = String::from_utf8(given.stdout).unwrap();
    let set = async |token: &str| {
        let request =
            SetSeatLimitRequest { request_id: request_id(), account_id: owner.user.account_id.clone(), seats: 12 };
        let door = door.with_token(token).unwrap();
        SubscriptionServiceClient::new(door.way()).set_seat_limit(request).await
    };
    assert_eq!(set(given.trim()).await.unwrap().into_inner().subscription.unwrap().seats, 12);
    assert_eq!(set(&owner.tokens.access_token).await.unwrap_err().code(), Code::PermissionDenied);
}
