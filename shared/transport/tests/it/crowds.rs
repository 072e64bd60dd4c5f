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
use tokio::{io::AsyncWriteExt as _, net::TcpSocket, sync::watch, time::timeout};
use tonic::Streaming;

use crate::support::{Fake, LIMIT, OPEN, Words, hear, listen, remote, request, world};

/// As many as made a service hang that lets one connection have a thousand, and then one more.
const STREAMS: usize = 1100;
const SLOW: usize = 16;
/// How long nobody has taken anything before everything that fits is taken to lie where it fits.
const CALM: Duration = Duration::from_millis(300);
/// How many calls are given up.
const GIVEN_UP: usize = 3000;
/// How many answers a client does not read.
const UNREAD: usize = 300;
/// What of each answer may lie in the process, with room for what TCP holds.
const LYING: usize = 160 * 1024;

async fn first(words: &mut Streaming<String>) -> Option<String> {
    timeout(LIMIT, words.message()).await.expect("a word").unwrap()
}

/// Waits until nothing more is said.
async fn calm(said: &AtomicUsize) {
    eventually("what nobody takes is produced no more", LIMIT, async || {
        let before = said.load(Ordering::SeqCst);
        tokio::time::sleep(CALM).await;
        before > 0 && said.load(Ordering::SeqCst) == before
    })
    .await;
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
    calm(&said).await;
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

/// The first stream says something at each tick; the others never stop.
fn one_calm_among_endless(ticks: &watch::Sender<usize>) -> Fake {
    let (ticks, begun) = (ticks.clone(), AtomicUsize::new(0));
    Fake::streaming(move || -> Words {
        if begun.fetch_add(1, Ordering::SeqCst) > 0 {
            return stream::repeat_with(|| Ok("much ".repeat(500))).boxed();
        }
        let said =
            async |mut ticks: watch::Receiver<usize>| ticks.changed().await.ok().map(|()| (Ok("tick".into()), ticks));
        stream::unfold(ticks.subscribe(), said).boxed()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_cancelled_calls_that_are_still_on_their_way_end_nothing() {
    let (world, ticks) = (world(), watch::Sender::new(0));
    let way = remote(listen(one_calm_among_endless(&ticks).front(&world), &world.drain).await).to("billing");
    let mut calm = hear(way.clone(), request()).await.unwrap();
    for _ in 0..GIVEN_UP / 100 {
        let begun = join_all((0..100).map(|_| hear(way.clone(), request()))).await;
        let mut begun: Vec<_> = begun.into_iter().map(Result::unwrap).collect();
        join_all(begun.iter_mut().map(first)).await;
        drop(begun);
        ticks.send_modify(|ticks| *ticks += 1);
        assert_eq!(first(&mut calm).await.as_deref(), Some("tick"));
    }
}

/// A client who opens the widest windows, calls, and reads nothing (RFC 9113 sections 3.4, 6.5, 6.9 and 6.2; RFC 7541 section 6.2.2).
fn deaf(calls: usize) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let widest = (1_u32 << 31) - 1;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[&[0, 4], &widest.to_be_bytes()[..]].concat()));
    bytes.extend(frame(8, 0, 0, &(widest - 65_535).to_be_bytes()));
    let path = [&[0x04, u8::try_from(OPEN.len()).unwrap()], OPEN.as_bytes()].concat();
    let content_type = [&[0x0f, 0x10, 16], &b"application/grpc"[..]].concat();
    let headers = [&[0x83, 0x86], &path[..], &content_type].concat();
    for call in 0..u32::try_from(calls).unwrap() {
        bytes.extend(frame(1, 4, 2 * call + 1, &headers));
        // An empty message, and the end.
        bytes.extend(frame(0, 1, 2 * call + 1, &[0; 5]));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn little_lies_in_the_process_of_answers_that_a_client_never_reads_however_wide_his_windows() {
    let (world, said) = (world(), Arc::new(AtomicUsize::new(0)));
    let counted = said.clone();
    let endless = move || -> Words {
        let counted = counted.clone();
        let much = move || {
            counted.fetch_add(10_000, Ordering::SeqCst);
            Ok("much words".repeat(1000))
        };
        stream::iter(std::iter::repeat_with(much)).boxed()
    };
    // As the gateway is served.
    let address = listen(Fake::streaming(endless).front(&world).passing_on(), &world.drain).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    client.write_all(&deaf(UNREAD)).await.unwrap();
    calm(&said).await;
    let lying = said.load(Ordering::SeqCst) / UNREAD;
    assert!((10_000..LYING).contains(&lying), "{lying} bytes of each");
}
