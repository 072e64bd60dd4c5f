//! The trace of a change, carried with its event.

use std::collections::HashMap;

use opentelemetry::{
    global,
    trace::{SpanContext, TraceContextExt as _},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const HEADER: &str = "traceparent";

/// The W3C `traceparent` of the current span; empty without one.
pub(crate) fn current() -> String {
    let mut carrier = HashMap::new();
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.remove(HEADER).unwrap_or_default()
}

/// What a `traceparent` names, unless it is empty or no such thing.
pub(crate) fn parse(traceparent: &str) -> Option<SpanContext> {
    let carrier = HashMap::from([(HEADER.to_owned(), traceparent.to_owned())]);
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}
