//! The connection to a service in another process.

use std::net::Ipv4Addr;

use diwan_fault::Code;
use diwan_runtime::SystemClock;
use diwan_testkit::Authority;
use diwan_transport::{Network, Tls};
use futures::{FutureExt as _, future::join_all};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    support::{LIMIT, OPEN, ask, request, world},
    tls::env,
};

const CALLS: usize = 64;

#[tokio::test]
async fn whoever_waits_while_a_connection_fails_shares_its_failure_and_who_comes_later_tries_anew() {
    let (world, folder) = (world(), TempDir::new().unwrap());
    Authority::new().issue_for(folder.path(), "gateway");
    let tls = Tls::between(folder.path().to_owned(), &SystemClock::shared(), &world.drain).await.unwrap();
    // Nobody shakes hands here: who is let in stays unsure until he is turned away.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let way = Network::remote_over(&env("https", listener.local_addr().unwrap()), Some(&tls)).unwrap().to("billing");
    let turned_away = async || drop(timeout(LIMIT, listener.accept()).await.expect("somebody comes").unwrap());

    // The calls are looked at first, so all of them wait by the time the first connection is turned away.
    let calls = join_all((0..CALLS).map(|_| ask(way.clone(), OPEN, request())));
    let (answers, ()) = tokio::join!(calls, turned_away());
    for answer in answers {
        assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
    }
    assert!(listener.accept().now_or_never().is_none(), "one attempt for all of them");

    let (late, ()) = tokio::join!(ask(way, OPEN, request()), turned_away());
    assert_eq!(late.unwrap_err().code(), Code::Unavailable);
}
