//! Carries a trace from one process to the next (W3C Trace Context).
//!
//! A call that is only passed on, by a process that sends its spans nowhere, has no span in the trace: its id is kept, or made,
//! and stands in the log, at a fraction of what a recorded span costs.

use diwan_runtime::telemetry::{self, LOG_ONLY};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId, global,
    propagation::{Extractor, Injector},
    trace::{SpanContext, TraceContextExt as _, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of a call that came in, a child of the caller's.
pub(crate) fn incoming(headers: &HeaderMap, path: &str) -> Span {
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    let span = span(path, "server");
    let _ = span.set_parent(parent);
    note_trace_id(&span);
    span
}

/// The span of a call that came in to be passed on. `headers` tell whoever answers it of the trace already where this process has
/// nothing to add: see [`passed_on`].
pub(crate) fn passing(headers: &mut HeaderMap, path: &str) -> Span {
    if telemetry::exports() {
        return incoming(headers, path);
    }
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    let told = parent.span().span_context().clone();
    let trace = if told.is_valid() { told.trace_id() } else { begin(headers) };
    let method = path.trim_start_matches('/');
    tracing::info_span!(target: LOG_ONLY, "rpc", otel.name = method, trace_id = tracing::field::display(trace))
}

/// The span of a call that is passed on to whoever answers it.
pub(crate) fn passed_on(headers: &mut HeaderMap, path: &str) -> Span {
    if telemetry::exports() { outgoing(headers, path) } else { Span::none() }
}

/// A new trace, sampled: whoever records it decides that for himself.
fn begin(headers: &mut HeaderMap) -> TraceId {
    let trace = TraceId::from(rand::random::<u128>().max(1));
    let span = SpanId::from(rand::random::<u64>().max(1));
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default());
    inject(headers, &Context::new().with_remote_span_context(context));
    trace
}

/// The span of a call that goes out, told to the callee in `headers`.
pub(crate) fn outgoing(headers: &mut HeaderMap, path: &str) -> Span {
    let span = span(path, "client");
    inject(headers, &span.context());
    span
}

fn span(path: &str, kind: &'static str) -> Span {
    let path = path.trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    tracing::info_span!(
        "rpc",
        otel.name = path,
        otel.kind = kind,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        trace_id = tracing::field::Empty,
    )
}

/// Notes the trace id as a field, so that each line of the log carries it.
fn note_trace_id(span: &Span) {
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() {
        span.record("trace_id", tracing::field::display(context.trace_id()));
    }
}

fn inject(headers: &mut HeaderMap, context: &Context) {
    global::get_text_map_propagator(|propagator| propagator.inject_context(context, &mut HeadersMut(headers)));
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
