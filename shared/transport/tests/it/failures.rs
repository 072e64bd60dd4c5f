//! What a caller learns when something fails.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use diwan_fault::{Code, Fault};
use diwan_runtime::Drain;
use diwan_transport::Network;
use futures::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::support::{Fake, OPEN, ask, both, end_of, hear, listen, remote, request, world};

fn full() -> Status {
    let fault = Fault::new(Code::ResourceExhausted, "NO_SEAT_LEFT").with("seats", "5");
    fault.retry_after(Duration::from_secs(7)).into()
}

fn assert_full(status: &Status, place: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{place}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["seats"].as_str()), ("NO_SEAT_LEFT", "5"), "{place}");
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(7)), "{place}");
    assert_eq!(details.localized_message().unwrap().locale, "ar", "{place}");
}

#[tokio::test]
async fn code_reason_metadata_and_the_text_in_the_callers_language_survive_both_ways() {
    let world = world();
    let in_arabic = || {
        let mut request = request();
        request.metadata_mut().insert("accept-language", "ar-EG, en;q=0.5".parse().unwrap());
        request
    };
    for (place, network) in both(&world, Fake::new(async |_| Err(full()))).await {
        assert_full(&ask(network.to("billing"), OPEN, in_arabic()).await.unwrap_err(), place);
    }
    let late = || stream::iter([Ok(String::new())]).chain(stream::once(async { Err(full()) })).boxed();
    for (place, network) in both(&world, Fake::streaming(late)).await {
        assert_full(&end_of(hear(network.to("billing"), in_arabic()).await.unwrap()).await, place);
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_with_a_hint_when_to_try_again() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    for (place, network) in [("local", Network::local()), ("remote", remote(closed))] {
        assert_unavailable(&ask(network.to("billing"), OPEN, request()).await.unwrap_err(), place);
    }
}

fn assert_unavailable(status: &Status, place: &str) {
    assert_eq!(status.code(), Code::Unavailable, "{place}: {status}");
    assert!(status.get_error_details().retry_info().is_some(), "{place}: {status:?}");
}

#[tokio::test]
async fn a_peer_that_accepts_and_then_says_nothing_is_noticed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let _silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    // `ask` itself limits how long that takes: the call has no deadline of its own.
    assert_unavailable(&ask(remote(address).to("billing"), OPEN, request()).await.unwrap_err(), "silent");
}

/// A process of its own, as far as a client can tell: `kill` breaks its connections off.
struct Peer {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
}

impl Peer {
    fn start(world: &diwan_testkit::World, fake: Fake) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (front, drain) = (fake.front(world), Drain::new());
        let address =
            std::thread::scope(|scope| scope.spawn(|| runtime.block_on(listen(front, &drain))).join().unwrap());
        // Dropped here, the drain has not begun: nothing ends in order.
        Self { runtime, address }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

#[tokio::test]
async fn a_peer_that_dies_in_the_middle_of_a_stream_is_unavailable() {
    let world = world();
    let silent = || stream::iter([Ok("one".to_owned())]).chain(stream::pending()).boxed();
    let peer = Peer::start(&world, Fake::streaming(silent));
    let mut words = hear(remote(peer.address).to("billing"), request()).await.unwrap();
    assert_eq!(words.message().await.unwrap().unwrap(), "one");
    peer.kill();
    assert_unavailable(&end_of(words).await, "killed");
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let world = world();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let network = remote(address);
    assert_unavailable(&ask(network.to("billing"), OPEN, request()).await.unwrap_err(), "before");
    let listener = diwan_transport::bind(address).await.unwrap();
    let front = Fake::new(async |_| Ok("back".to_owned())).front(&world);
    tokio::spawn(diwan_transport::serve(listener, front, world.drain.clone(), Duration::from_secs(5)));
    assert_eq!(ask(network.to("billing"), OPEN, request()).await.unwrap(), "back");
}
