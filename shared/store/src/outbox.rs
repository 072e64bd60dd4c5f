//! Writing events: what a change tells, in its own transaction. diwan-feed serves them; its `sql/feed.sql` is the table.
//!
//! Each event carries who made the change and from where, as diwan-audit knows it of the present request.

use std::collections::HashMap;

pub use diwan_audit::Record;
use diwan_audit::{ledger, origin};
use diwan_runtime::{Clock as _, SystemClock};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use opentelemetry::global;
use prost::{Message, Name};
use sqlx::PgConnection;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::Error;

const TRACE_HEADER: &str = "traceparent";

/// A change of one thing, as it goes into the feed.
#[derive(Clone, Debug)]
pub struct Change {
    entity: Uuid,
    version: i64,
    kind: String,
    payload: Vec<u8>,
}

impl Change {
    /// `entity` is the thing that changed, `version` its version after the change, `payload` the message of the service's
    /// package that says what it is now, e.g. `TeamChanged`. It goes into the audit log as well, without its secrets.
    pub fn new<M: Message + Name>(entity: Uuid, version: i64, payload: &M) -> Self {
        Self { entity, version, kind: M::full_name(), payload: payload.encode_to_vec() }
    }

    /// What only the audit log is told: a change that no other service needs to know of, or something that concerns security.
    pub fn audited(record: &Record) -> Self {
        Self::new(record.entity, record.version, &record.payload)
    }
}

/// Writes the events of changes of one account, in this order, into the transaction that makes them. The current trace and the
/// origin of the present request go with them. Events reach their consumers after the commit: at once when it is one of
/// [`crate::Database::transaction`], otherwise within five seconds.
///
/// # Errors
/// [`Error::Sqlx`]: also when a payload is larger than 1 MiB (constraint `feed_payload_fits`).
pub async fn append(tx: &mut PgConnection, account: Uuid, now: Timestamp, changes: &[Change]) -> Result<(), Error> {
    sqlx::query(
        "insert into feed_events (account_id, traceparent, occurred_at, origin, entity_id, entity_version, kind, payload)
         select $1, $2, $3, $4, entity_id, entity_version, kind, payload
         from unnest($5::uuid[], $6::bigint[], $7::text[], $8::bytea[])
              with ordinality as change (entity_id, entity_version, kind, payload, place)
         order by place",
    )
    .bind(account)
    .bind(trace())
    .bind(now.to_sqlx())
    .bind(origin::current().encode_to_vec())
    .bind(column(changes, |change| change.entity))
    .bind(column(changes, |change| change.version))
    .bind(column(changes, |change| change.kind.as_str()))
    .bind(column(changes, |change| change.payload.as_slice()))
    .execute(tx)
    .instrument(crate::span("append events"))
    .await?;
    ledger::tell();
    Ok(())
}

/// Tells the audit log of a change that has no event of its own, or of something that concerns security, in its transaction.
///
/// # Errors
/// As [`append`].
pub async fn record(tx: &mut PgConnection, account: Uuid, now: Timestamp, record: &Record) -> Result<(), Error> {
    append(tx, account, now, &[Change::audited(record)]).await
}

/// Tells the audit log of a transaction that has written something and told nothing, in a call that somebody is accountable for:
/// whoever writes a handler cannot forget to.
pub(crate) async fn tell_untold(tx: &mut PgConnection) -> Result<(), Error> {
    let Some(account) = origin::accountable().filter(|_| !ledger::has_told()) else { return Ok(()) };
    let wrote: bool = sqlx::query_scalar("select pg_current_xact_id_if_assigned() is not null")
        .fetch_one(&mut *tx)
        .instrument(crate::span("ask whether anything was written"))
        .await?;
    if !wrote {
        return Ok(());
    }
    let event = ledger::work().to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    record(tx, account, SystemClock.now(), &Record::event(&event, "", account)).await
}

fn column<'a, T>(changes: &'a [Change], value: impl Fn(&'a Change) -> T) -> Vec<T> {
    changes.iter().map(value).collect()
}

/// The W3C `traceparent` of the current span; empty without one.
fn trace() -> String {
    let mut carrier = HashMap::new();
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.remove(TRACE_HEADER).unwrap_or_default()
}
