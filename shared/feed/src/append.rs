//! Writing events.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::{Message, Name};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::trace;

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
    /// package that says what it is now, e.g. `TeamChanged`.
    pub fn new<M: Message + Name>(entity: Uuid, version: i64, payload: &M) -> Self {
        Self { entity, version, kind: M::full_name(), payload: payload.encode_to_vec() }
    }
}

/// Writes the events of changes of one account, in this order, into the transaction that makes them. The current trace
/// goes with them. Events reach their consumers after the commit: at once when it is one of
/// [`diwan_store::Database::transaction`], otherwise within half a second.
///
/// # Errors
/// [`diwan_store::Error::Sqlx`]: also when a payload is larger than 1 MiB (constraint `feed_payload_fits`).
pub async fn append(
    tx: &mut PgConnection,
    account: Uuid,
    now: Timestamp,
    changes: &[Change],
) -> Result<(), diwan_store::Error> {
    sqlx::query(
        "insert into feed_events (account_id, traceparent, occurred_at, entity_id, entity_version, kind, payload)
         select $1, $2, $3, entity_id, entity_version, kind, payload
         from unnest($4::uuid[], $5::bigint[], $6::text[], $7::bytea[])
              with ordinality as change (entity_id, entity_version, kind, payload, place)
         order by place",
    )
    .bind(account)
    .bind(trace::current())
    .bind(now.to_sqlx())
    .bind(column(changes, |change| change.entity))
    .bind(column(changes, |change| change.version))
    .bind(column(changes, |change| change.kind.as_str()))
    .bind(column(changes, |change| change.payload.as_slice()))
    .execute(tx)
    .instrument(diwan_store::span("append events"))
    .await?;
    Ok(())
}

fn column<'a, T>(changes: &'a [Change], value: impl Fn(&'a Change) -> T) -> Vec<T> {
    changes.iter().map(value).collect()
}
