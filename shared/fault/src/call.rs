//! A call that a process only passes on. It has no span, which would cost as much as passing it on; what is logged of it says by
//! itself which call it was.

use std::future::Future;

use http::Uri;
use tracing::Span;

/// Which call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose path is its method.
    pub method: Uri,
    /// The id of its trace (W3C Trace Context, `trace-id`).
    pub trace: u128,
}

tokio::task_local! {
    static CURRENT: Option<Call>;
}

/// Runs `request` as `call`; `None` where a span says which one it is.
pub fn scope<F: Future>(call: Option<Call>, request: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(call, request)
}

/// As [`scope`], for work that does not wait.
pub fn sync_scope<T>(call: Option<Call>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(call, work)
}

/// A span for what is logged of the present call; none where there is one already, or no call.
pub fn span() -> Span {
    let of = |call: &Call| {
        let method = call.method.path().trim_start_matches('/');
        let trace = format_args!("{:032x}", call.trace).to_string();
        tracing::info_span!(target: diwan_runtime::telemetry::LOG_ONLY, "rpc", otel.name = method, trace_id = trace)
    };
    CURRENT.try_with(|call| call.as_ref().map(of)).ok().flatten().unwrap_or_else(Span::none)
}
