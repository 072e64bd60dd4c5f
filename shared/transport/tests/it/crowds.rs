//! Many answers at once over the one connection to a service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diwan_testkit::eventually;
use futures::{StreamExt as _, future::join_all, stream};
use tokio::time::timeout;
use tonic::Streaming;

use crate::support::{Fake, LIMIT, hear, listen, remote, request, world};

/// As many as made a service hang that lets one connection have a thousand, and then one more.
const STREAMS: usize = 1100;
const SLOW: usize = 16;
/// How long nobody has taken anything before everything that fits is taken to lie where it fits.
const CALM: Duration = Duration::from_millis(300);

async fn first(words: &mut Streaming<String>) -> Option<String> {
    timeout(LIMIT, words.message()).await.expect("a word").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_do_not_read_keep_nobody_elses_answer_back() {
    let (world, said) = (world(), Arc::new(AtomicUsize::new(0)));
    let counted = said.clone();
    let endless = move || {
        let counted = counted.clone();
        let much = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok("much ".repeat(20_000))
        };
        stream::iter(std::iter::repeat_with(much)).boxed()
    };
    let way = remote(listen(Fake::streaming(endless).front(&world), &world.drain).await).to("billing");
    let mut slow = join_all((0..SLOW).map(|_| hear(way.clone(), request()))).await;
    for words in &mut slow {
        first(words.as_mut().unwrap()).await.unwrap();
    }
    eventually("what nobody takes is produced no more", LIMIT, async || {
        let before = said.load(Ordering::SeqCst);
        tokio::time::sleep(CALM).await;
        said.load(Ordering::SeqCst) == before
    })
    .await;
    let mut words = hear(way, request()).await.unwrap();
    for _ in 0..20 {
        assert!(first(&mut words).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_beside_more_open_streams_than_a_client_may_have() {
    let world = world();
    let open = || stream::iter([Ok("open".to_owned())]).chain(stream::pending()).boxed();
    let way = remote(listen(Fake::streaming(open).front(&world), &world.drain).await).to("billing");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut words = timeout(LIMIT, hear(way.clone(), request())).await.expect("a stream").unwrap();
        assert_eq!(first(&mut words).await.as_deref(), Some("open"));
        streams.push(words);
    }
    assert_eq!(streams.len(), STREAMS);
}
