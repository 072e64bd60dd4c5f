//! The trace of a change, carried with its event.

use std::collections::HashMap;

use opentelemetry::{
    global,
    trace::{SpanContext, TraceContextExt as _},
};

const HEADER: &str = "traceparent";

/// What a `traceparent` names, unless it is empty or no such thing.
pub(crate) fn parse(traceparent: &str) -> Option<SpanContext> {
    let carrier = HashMap::from([(HEADER.to_owned(), traceparent.to_owned())]);
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}
