//! Carries a trace from one process to the next (W3C Trace Context).
//!
//! A call that is only passed on, by a process that sends its spans nowhere, has no span in the trace: its id is kept, or made,
//! and stands in the log, at a fraction of what a recorded span costs.

use diwan_fault::call::Call;
use diwan_runtime::telemetry;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::TraceContextExt as _,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Where the paths of methods begin that the gateway answers itself.
const OWN: &str = "/diwan.gateway.";

/// The span of a call that came in, a child of the caller's.
pub(crate) fn incoming(headers: &HeaderMap, path: &str) -> Span {
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    let span = span(path, "server");
    let _ = span.set_parent(parent);
    note_trace_id(&span);
    span
}

/// Of a call that came in to be passed on: its span, or where this process sends its spans nowhere, which call it is. `headers` then
/// tell whoever answers it of the trace: see [`passed_on`].
pub(crate) fn passing(headers: &mut HeaderMap, method: &Uri) -> (Span, Option<Call>) {
    if telemetry::exports() || method.path().starts_with(OWN) {
        return (incoming(headers, method.path()), None);
    }
    let trace = told(headers).unwrap_or_else(|| begin(headers));
    (Span::none(), Some(Call { method: method.clone(), trace }))
}

/// The trace that the caller told of.
fn told(headers: &HeaderMap) -> Option<u128> {
    headers.get(TRACEPARENT)?;
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    let told = context.span().span_context().clone();
    told.is_valid().then(|| u128::from_be_bytes(told.trace_id().to_bytes()))
}

/// The span of a call that is passed on to whoever answers it.
pub(crate) fn passed_on(headers: &mut HeaderMap, path: &str) -> Span {
    if telemetry::exports() { outgoing(headers, path) } else { Span::none() }
}

/// A new trace, sampled: whoever records it decides that for himself (W3C Trace Context section 3.2).
fn begin(headers: &mut HeaderMap) -> u128 {
    let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
    headers.remove(TRACESTATE);
    if let Ok(parent) = HeaderValue::try_from(format!("00-{trace:032x}-{span:016x}-01")) {
        headers.insert(TRACEPARENT, parent);
    }
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
