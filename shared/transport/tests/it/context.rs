//! What reaches the callee beside the message: the caller's language and trace.

use std::sync::OnceLock;

use diwan_fault::language;
use diwan_runtime::{Env, telemetry};
use diwan_transport::Transport;
use futures::{StreamExt as _, stream};
use opentelemetry::trace::TraceContextExt as _;
use tracing::{Instrument as _, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::support::{Fake, OPEN, ask, both, request, world};

/// Answers with what `look` sees while the head is made or, for a stream, while its body is.
fn sees(look: fn() -> String, in_stream: bool) -> Fake {
    if in_stream {
        return Fake::streaming(move || stream::once(async move { Ok(look()) }).boxed());
    }
    Fake::new(move |_| async move { Ok(look()) })
}

/// Asks `inner` on behalf of whoever asks it.
fn passes_on(inner: Transport) -> Fake {
    Fake::new(move |_| ask(inner.clone(), OPEN, request()))
}

#[tokio::test]
async fn the_language_reaches_the_callee_and_those_whom_it_calls() {
    let world = world();
    for in_stream in [false, true] {
        let look = || language::current().tag().to_owned();
        for (place, inner) in both(&world, sees(look, in_stream)).await {
            for (outer_place, outer) in both(&world, passes_on(inner.to("billing"))).await {
                let mut spanish = request();
                spanish.metadata_mut().insert("accept-language", "fr, es;q=0.9, en;q=0.1".parse().unwrap());
                let answer = ask(outer.to("billing"), OPEN, spanish).await.unwrap();
                assert_eq!(answer, "es", "{outer_place} {place} {in_stream}");
            }
        }
    }
}

fn trace_id() -> String {
    Span::current().context().span().span_context().trace_id().to_string()
}

#[tokio::test]
async fn the_trace_reaches_the_callee_and_those_whom_it_calls() {
    static TELEMETRY: OnceLock<telemetry::Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| telemetry::start("test", &Env::default().with("DIWAN_LOG", "info")).unwrap());
    let world = world();
    for in_stream in [false, true] {
        for (place, inner) in both(&world, sees(trace_id, in_stream)).await {
            for (outer_place, outer) in both(&world, passes_on(inner.to("billing"))).await {
                let root = info_span!("root");
                let expected = root.in_scope(trace_id);
                let answer = ask(outer.to("billing"), OPEN, request()).instrument(root).await.unwrap();
                assert_eq!(answer, expected, "{outer_place} {place} {in_stream}");
                assert!(answer.bytes().any(|digit| digit != b'0'), "{answer}");
            }
        }
    }
}
