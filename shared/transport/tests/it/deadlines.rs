//! Nobody waits longer than he said, and whoever is called knows how long that is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_testkit::{eventually, reason};
use diwan_transport::{Network, Transport, context};
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::support::{Fake, LIMIT, OPEN, ask, both, end_of, hear, request, world};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_hours(1);

/// Says that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_callee_that_hangs_is_cut_off_and_its_work_is_dropped() {
    let world = world();
    let dropped = Arc::new(AtomicBool::new(false));
    let hangs = Fake::new({
        let dropped = dropped.clone();
        move |_| {
            let guard = Dropped(dropped.clone());
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        }
    });
    for (place, network) in both(&world, hangs).await {
        dropped.store(false, Ordering::SeqCst);
        let status = ask(network.to("billing").within(SHORT), OPEN, request()).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{place}: {status}");
        eventually(place, LIMIT, async || dropped.load(Ordering::SeqCst)).await;

        let mut timed = request();
        timed.set_timeout(SHORT);
        let status = ask(network.to("billing"), OPEN, timed).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{place}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_at_the_deadline_whether_it_is_silent_or_never_stops() {
    let world = world();
    let silent = || stream::iter([Ok("one".to_owned())]).chain(stream::pending()).boxed();
    let endless = || stream::repeat_with(|| Ok("more".to_owned())).boxed();
    for fake in [Fake::streaming(silent), Fake::streaming(endless)] {
        for (place, network) in both(&world, fake).await {
            let mut timed = request();
            timed.set_timeout(SHORT);
            // On a busy machine even the head may come too late.
            let status = match hear(network.to("billing"), timed).await {
                Ok(words) => end_of(words).await,
                Err(status) => status,
            };
            assert_eq!(status.code(), Code::DeadlineExceeded, "{place}: {status}");
        }
    }
}

/// Answers with how many milliseconds are left, by the header and by the context.
fn time_left() -> Fake {
    Fake::new(async |request: Request<String>| {
        let header = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        let left = context::deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        Ok(format!("{} {}", header.unwrap_or_default(), left.unwrap_or_default().as_millis()))
    })
}

/// What is left by the words of [`time_left`]; both of its numbers have to agree.
fn left(words: &str) -> Duration {
    let (header, context) = words.split_once(' ').unwrap();
    let header: u64 = header.strip_suffix('m').unwrap_or_else(|| panic!("no milliseconds: {words}")).parse().unwrap();
    let context: u64 = context.parse().unwrap();
    assert!(context <= header, "{words}");
    Duration::from_millis(context)
}

/// Asks `inner` within the request that it answers, or within the stream of its answer.
fn asks(inner: Transport, in_stream: bool) -> Fake {
    if !in_stream {
        return Fake::new(move |_| ask(inner.clone(), OPEN, request()));
    }
    Fake::streaming(move || {
        let inner = inner.clone();
        stream::once(async move { ask(inner, OPEN, request()).await }).boxed()
    })
}

#[tokio::test]
async fn a_nested_call_inherits_what_is_left_and_may_only_shorten_it() {
    let world = world();
    let whole = Duration::from_mins(1);
    for (place, inner) in both(&world, time_left()).await {
        for in_stream in [false, true] {
            let patient = inner.to("billing").within(LONG);
            for (outer_place, outer) in both(&world, asks(patient, in_stream)).await {
                let mut timed = request();
                timed.set_timeout(whole);
                let left = left(&ask(outer.to("billing"), OPEN, timed).await.unwrap());
                assert!(left <= whole && left > whole / 2, "{outer_place} {place} {in_stream}: {left:?}");
            }
            let hasty = inner.to("billing").within(whole);
            for (outer_place, outer) in both(&world, asks(hasty, in_stream)).await {
                let left = left(&ask(outer.to("billing").within(LONG), OPEN, request()).await.unwrap());
                assert!(left <= whole && left > whole / 2, "{outer_place} {place} {in_stream}: {left:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_deadline_none_is_made_up_and_one_that_cannot_be_read_is_refused() {
    let world = world();
    for (place, network) in both(&world, time_left()).await {
        assert_eq!(ask(network.to("billing"), OPEN, request()).await.unwrap(), " 0", "{place}");
        for odd in ["soon", "-1S", "999999999S", "1", ""] {
            let refused = ask(network.to("billing"), OPEN, with_timeout(odd)).await.unwrap_err();
            let seen = (refused.code(), reason(&refused));
            assert_eq!(seen, (Code::InvalidArgument, "TIMEOUT_UNREADABLE".to_owned()), "{place} {odd}");
        }
        let mut twice = with_timeout("1H");
        twice.metadata_mut().append("grpc-timeout", "2H".parse().unwrap());
        assert_eq!(ask(network.to("billing"), OPEN, twice).await.unwrap_err().code(), Code::InvalidArgument, "{place}");
        ask(network.to("billing"), OPEN, with_timeout("99999999H")).await.unwrap();
    }
}

fn with_timeout(value: &'static str) -> Request<String> {
    let mut request = request();
    request.metadata_mut().insert("grpc-timeout", value.parse().unwrap());
    request
}

#[tokio::test]
async fn a_service_that_has_not_started_does_not_use_up_the_deadline() {
    let slow = Network::local().to("billing").within(LONG);
    let answered = ask(slow, OPEN, request()).now_or_never().expect("at once");
    assert_eq!(answered.unwrap_err().code(), Code::Unavailable);
}
