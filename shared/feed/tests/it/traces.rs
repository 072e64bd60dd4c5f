//! The trace of a change is linked to the one in which another service handles it.

use std::sync::{Arc, Mutex};

use diwan_feed::consume;
use diwan_testkit::eventually;
use opentelemetry::{
    global,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{Instrument as _, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::support::{LIMIT, Recorder, setup};

#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

#[tokio::test]
async fn the_span_of_a_handled_event_is_linked_to_the_request_that_made_the_change() {
    let spans = Spans::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    Registry::default().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test"))).init();

    let setup = setup().await;
    let request = info_span!("request");
    let trace = request.context().span().span_context().trace_id();
    setup.emit("event").instrument(request).await;
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), Recorder::default());

    let name = "process diwan.team.v1.TeamChanged";
    let find = async || spans.0.lock().unwrap().iter().find(|span| span.name == name).cloned();
    let handled = eventually("the event's span", LIMIT, find).await;
    assert_eq!(handled.links.iter().map(|link| link.span_context.trace_id()).collect::<Vec<_>>(), [trace]);
    assert_ne!(handled.span_context.trace_id(), trace, "a trace of its own");
    let of_request = spans.0.lock().unwrap().clone();
    let sql = of_request.iter().find(|span| span.name == "append events").expect("a span of the statement");
    assert_eq!(sql.span_context.trace_id(), trace);
}
