//! A server that ends breaks no call, lets nobody new in, and does not wait for ever.

use std::{sync::Arc, time::Duration};

use diwan_runtime::Drain;
use diwan_testkit::World;
use diwan_transport::{bind, serve};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tonic::Code;

use crate::support::{Fake, LIMIT, OPEN, ask, remote, request, world};

struct Served {
    drain: Drain,
    address: std::net::SocketAddr,
    ended: JoinHandle<()>,
    /// A call has come in.
    calls: mpsc::UnboundedReceiver<()>,
    /// Lets a call be answered.
    answer: Arc<Notify>,
}

async fn served(world: &World, grace: Duration) -> Served {
    let (came, calls) = mpsc::unbounded_channel();
    let answer = Arc::new(Notify::new());
    let fake = Fake::new({
        let answer = answer.clone();
        move |_| {
            let (came, answer) = (came.clone(), answer.clone());
            async move {
                came.send(()).unwrap();
                answer.notified().await;
                Ok("done".to_owned())
            }
        }
    });
    let drain = Drain::new();
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = tokio::spawn(serve(listener, fake.front(world), drain.clone(), grace));
    Served { drain, address, ended, calls, answer }
}

#[tokio::test]
async fn a_call_under_way_is_answered_and_a_new_one_is_refused() {
    let world = world();
    let mut served = served(&world, LIMIT).await;
    let way = remote(served.address).to("billing");
    let under_way = tokio::spawn(ask(way.clone(), OPEN, request()));
    served.calls.recv().await.unwrap();
    served.drain.begin();
    // GOAWAY closes the way that is open, and there is no new one.
    let refused = async {
        loop {
            match timeout(Duration::from_millis(200), ask(way.clone(), OPEN, request())).await {
                // It came in before the word was out, and waits with the first.
                Err(_) | Ok(Ok(_)) => {}
                Ok(Err(status)) => return status,
            }
        }
    };
    assert_eq!(timeout(LIMIT, refused).await.unwrap().code(), Code::Unavailable);
    assert!(!served.ended.is_finished(), "the server waits for the call under way");
    served.answer.notify_waiters();
    assert_eq!(under_way.await.unwrap().unwrap(), "done");
    timeout(LIMIT, served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_never_ends_holds_the_server_no_longer_than_its_grace() {
    let world = world();
    let mut served = served(&world, Duration::from_millis(300)).await;
    let _hangs = tokio::spawn(ask(remote(served.address).to("billing"), OPEN, request()));
    served.calls.recv().await.unwrap();
    served.drain.begin();
    timeout(LIMIT, served.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_has_said_nothing_does_not_hold_the_server() {
    let world = world();
    let served = served(&world, Duration::from_hours(1)).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    // By the time that a call comes in, the connection before it has been accepted.
    let mut calls = served.calls;
    let under_way = tokio::spawn(ask(remote(served.address).to("billing"), OPEN, request()));
    calls.recv().await.unwrap();
    served.drain.begin();
    served.answer.notify_waiters();
    under_way.await.unwrap().unwrap();
    timeout(LIMIT, served.ended).await.unwrap().unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "it is closed");
}
