//! Structured logs with trace ids, and traces over OTLP.

use std::{
    fs::{self, OpenOptions},
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::filter_fn, fmt::writer::BoxMakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::Env;

/// The target of spans that are there for the log only: nothing of them is recorded for traces.
pub const LOG_ONLY: &str = "diwan::log_only";

static EXPORTS: AtomicBool = AtomicBool::new(false);

/// Whether spans go to a receiver of traces.
pub fn exports() -> bool {
    EXPORTS.load(Ordering::Relaxed)
}

/// Telemetry that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// OTEL_EXPORTER_OTLP_ENDPOINT does not name a receiver.
    #[error("the OTLP exporter cannot be built")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The file that DIWAN_LOG_FILE names cannot be opened.
    #[error("{0} cannot be opened")]
    File(PathBuf, #[source] io::Error),
    /// DIWAN_LOG is no filter.
    #[error("DIWAN_LOG cannot be read")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Something in this process has set up telemetry before.
    #[error("telemetry is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps telemetry running; flush it before the process ends.
#[derive(Debug)]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sends what is still held back. Blocks up to five seconds.
    pub fn flush(self) {
        if let Some(provider) = self.0 {
            let _ = provider.shutdown_with_timeout(Duration::from_secs(5));
        }
    }
}

/// Starts logs (JSON lines on stderr or at the end of the file DIWAN_LOG_FILE, or text with DIWAN_LOG_FORMAT=text; levels
/// by DIWAN_LOG) and, where OTEL_EXPORTER_OTLP_ENDPOINT names a receiver, traces. `process` is the resource's `service.name`.
///
/// # Errors
/// See [`TelemetryError`]. Nothing is half set up then.
pub fn start(process: &str, env: &Env) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(env.get("DIWAN_LOG").unwrap_or("info")).map_err(TelemetryError::Filter)?;
    let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer(env)?);
    let log = if env.get("DIWAN_LOG_FORMAT") == Some("text") {
        log.compact().boxed()
    } else {
        log.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    let provider = env.get("OTEL_EXPORTER_OTLP_ENDPOINT").map(|receiver| exporter(process, receiver)).transpose()?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    // The layer stands even without a receiver: it makes the trace ids that logs and callers are shown.
    let tracer = provider.clone().unwrap_or_default().tracer("diwan");
    // What nobody asks for is not measured at each step of each future.
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    let layer = layer.with_tracked_inactivity(false).with_context_activation(false);
    EXPORTS.store(provider.is_some(), Ordering::Relaxed);
    Registry::default()
        .with(layer.with_filter(filter_fn(|metadata| metadata.target() != LOG_ONLY)))
        .with(log)
        .with(filter)
        .try_init()
        .map_err(TelemetryError::Twice)?;
    Ok(Telemetry(provider))
}

fn writer(env: &Env) -> Result<BoxMakeWriter, TelemetryError> {
    let Some(path) = env.get("DIWAN_LOG_FILE").map(PathBuf::from) else { return Ok(BoxMakeWriter::new(io::stderr)) };
    let opened = path.parent().map_or(Ok(()), fs::create_dir_all);
    let opened = opened.and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
    opened.map(BoxMakeWriter::new).map_err(|error| TelemetryError::File(path, error))
}

fn exporter(process: &str, receiver: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(receiver).build().map_err(TelemetryError::Exporter)?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(process.to_owned()).build())
        .build())
}
