//! A service that is given more than it can do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diwan_proto::identity::v1::{
    ListUsersRequest, ListUsersResponse, SignInRequest, SignInResponse, session_service_client::SessionServiceClient,
    user_service_client::UserServiceClient,
};
use diwan_testkit::Person;
use diwan_transport::Front;
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Scripted, encoded, gateway, good, refused_for_now, world};

const CLIENTS: usize = 400;
const CALLS: usize = 10;

/// How many reads are in the service, and the most there have been.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize)>);

/// Can do four reads at a time, each of which takes a while; the others wait.
fn busy(inside: Inside) -> Scripted {
    let workers = Arc::new(Semaphore::new(4));
    let list = encoded(&ListUsersResponse::default());
    Scripted::default().says("SignIn", &SignInResponse::default()).on("ListUsers", move |_| {
        let (workers, inside, list) = (workers.clone(), inside.clone(), list.clone());
        async move {
            let now = inside.0.0.fetch_add(1, Ordering::SeqCst) + 1;
            inside.0.1.fetch_max(now, Ordering::SeqCst);
            let working = workers.acquire().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(working);
            inside.0.0.fetch_sub(1, Ordering::SeqCst);
            good(list)
        }
    })
}

/// Reads again and again; how many were answered, and the refusals.
async fn flood(gateway: &Front, token: &MetadataMap) -> (usize, Vec<Status>) {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mut client, token) = (UserServiceClient::new(gateway.clone()), token.clone());
        clients.spawn(async move {
            let mut shed = Vec::new();
            for _ in 0..CALLS {
                let mut request = Request::new(ListUsersRequest::default());
                *request.metadata_mut() = token.clone();
                shed.extend(client.list_users(request).await.err());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            shed
        });
    }
    let shed: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    (CLIENTS * CALLS - shed.len(), shed)
}

async fn sign_in_and_ask_for_health(gateway: &Front) {
    for _ in 0..50 {
        SessionServiceClient::new(gateway.clone()).sign_in(SignInRequest::default()).await.unwrap();
        HealthClient::new(gateway.clone()).check(HealthCheckRequest { service: String::new() }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_reads_is_shed_down_to_what_the_service_can_do_and_sign_in_and_health_go_through() {
    let inside = Inside::default();
    let world = world([("identity", busy(inside.clone()))]);
    let settings = [
        ("DIWAN_GATEWAY_CONCURRENCY_LEAST", "10"),
        ("DIWAN_GATEWAY_CONCURRENCY_MOST", "190"),
        ("DIWAN_GATEWAY_LIMIT_USER_READ", "100000/100000"),
        ("DIWAN_GATEWAY_LIMIT_ACCOUNT_READ", "100000/100000"),
    ];
    let gateway = gateway(&world, &settings).await;
    let token = world.request(&Person::owner(), ()).metadata().clone();
    let mut most = Vec::new();
    for _ in 0..2 {
        let ((answered, shed), ()) = tokio::join!(flood(&gateway, &token), sign_in_and_ask_for_health(&gateway));
        assert!(answered >= 20, "some are served: {answered}");
        assert!(shed.len() > CLIENTS, "the rest is told to come back: {}", shed.len());
        for refusal in shed {
            assert_eq!((refusal.code(), refused_for_now(&refusal).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        }
        most.push(inside.0.1.swap(0, Ordering::SeqCst));
    }
    // It begins with room for 100, of which reads may take 70, and learns that four are done at a time.
    assert!(most[0] >= 60 && most[1] <= 40, "{most:?}");
}
