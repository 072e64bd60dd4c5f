//! Carries a trace from one process to the next (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of a call that came in, a child of the caller's.
pub(crate) fn incoming(headers: &HeaderMap, path: &str) -> Span {
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    let span = span(path, "server");
    let _ = span.set_parent(parent);
    span
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
pub(crate) fn note_trace_id(span: &Span) {
    use opentelemetry::trace::TraceContextExt as _;
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
