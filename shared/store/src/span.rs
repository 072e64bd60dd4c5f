//! Spans of SQL work, so that a trace leads from the request down to its statements.

use tracing::{Span, info_span};

/// The span of one store function, e.g. `span("insert team")`, to be attached with [`tracing::Instrument`]. The attributes
/// follow the OpenTelemetry conventions for database clients.
///
/// ```
/// # use sqlx::PgConnection;
/// use tracing::Instrument as _;
///
/// async fn rename(tx: &mut PgConnection, name: &str) -> Result<(), diwan_store::Error> {
///     sqlx::query("update teams set name = $1").bind(name).execute(tx).instrument(diwan_store::span("rename team")).await?;
///     Ok(())
/// }
/// ```
pub fn span(operation: &'static str) -> Span {
    client_span(operation, operation)
}

/// The span around all statements of one transaction.
pub(crate) fn span_of_transaction(name: &str) -> Span {
    client_span(&format!("transaction {name}"), name)
}

fn client_span(name: &str, operation: &str) -> Span {
    info_span!(
        "sql",
        otel.name = name,
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.name = operation
    )
}
