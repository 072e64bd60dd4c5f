//! Reading the outbox in an order that never skips an event.

use diwan_proto::{audit::v1::Origin, feed::v1::Event};
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use prost::Message as _;
use prost_types::Any;
use sqlx::{FromRow, PgPool, Row as _, postgres::PgRow};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{Position, time};

/// The most events of one read.
const LIMIT: i64 = 500;
/// The most bytes of payloads of one read, to which one payload more is added: with its own limit of 1 MiB a response stays
/// below gRPC's usual 4 MiB.
const BYTES: i64 = 1024 * 1024;

/// No transaction with a number below the snapshot's `xmin` is still running, so none can add an event there any more:
/// what lies between the cursor and `xmin` is complete, in whatever order the commits came. One statement sees one
/// snapshot, so the events, the generation and what is withheld belong together. What is the same for every event stands in
/// subqueries, which run once: `feed_origin` reads the server's control file. Nothing visible is beyond the snapshot's `xmax`; saying so
/// makes the planner use the index, also before it has statistics of the table: it takes a range for narrow, and a half-line for a third.
macro_rules! read {
    ($of:literal) => {
        concat!(
            "
    select g.generation, g.origin = (select feed_origin()) as ours, g.purged_xid::text, g.purged_seq,
           (select pg_snapshot_xmax(pg_current_snapshot())::text) as xmax,
           (select min(occurred_at) from feed_events
            where xid >= pg_snapshot_xmin(pg_current_snapshot()) and xid < pg_snapshot_xmax(pg_current_snapshot())) as withheld,
           e.found, e.xid::text, e.seq, e.account_id, e.entity_id, e.entity_version, e.kind, e.payload, e.traceparent,
           e.occurred_at, e.origin
    from feed_generation g
    left join lateral (
        select *, count(*) over () as found,
               sum(octet_length(payload)) over (order by xid, seq) - octet_length(payload) as bytes_before
        from (
            select * from feed_events
            where ",
            $of,
            "(xid, seq) > ($1::xid8, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())
            order by xid, seq
            limit $3
        ) following
    ) e on e.bytes_before < $4
    order by e.xid, e.seq"
        )
    };
}

const READ: &str = read!("");
/// The primary key begins with the account, so the others' events cost nothing.
const READ_ONE: &str = read!("account_id = $5 and ");

/// What one look at the outbox found.
#[derive(Debug)]
pub(crate) enum Look {
    /// The events after the position, perhaps none.
    Next(Batch),
    /// The position is not of the feed as it is kept now.
    Gone,
    /// There is no generation for this life of the database yet.
    NoGeneration,
    /// The position is in the future of this database: it was rewound since.
    Rewound,
}

/// Events that follow one another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub events: Vec<Event>,
    /// Whether more could be read at once.
    pub more: bool,
    /// When the first of those happened that are committed but wait for an older transaction to end.
    pub withheld: Option<Timestamp>,
}

/// The feed at the time of the look.
#[derive(Debug, FromRow)]
struct State {
    generation: i64,
    ours: bool,
    purged_xid: String,
    purged_seq: i64,
    xmax: String,
    withheld: Option<SqlTimestamp>,
    found: Option<i64>,
}

#[derive(Debug, FromRow)]
struct Found {
    xid: String,
    seq: i64,
    account_id: Uuid,
    entity_id: Uuid,
    entity_version: i64,
    kind: String,
    payload: Vec<u8>,
    traceparent: String,
    occurred_at: SqlTimestamp,
    origin: Vec<u8>,
}

/// Reads what follows `after`, of one account or of all.
pub(crate) async fn look(pool: &PgPool, after: Position, account: Option<Uuid>) -> Result<Look, sqlx::Error> {
    let read = sqlx::query(if account.is_some() { READ_ONE } else { READ })
        .bind(after.transaction.to_string())
        .bind(after.sequence)
        .bind(LIMIT)
        .bind(BYTES);
    let read = if let Some(account) = account { read.bind(account) } else { read };
    let rows = read.fetch_all(pool).instrument(diwan_store::span("read feed")).await?;
    let Some(state) = rows.first().map(State::from_row).transpose()? else { return Ok(Look::NoGeneration) };
    if let Some(refusal) = refusal(&state, after)? {
        return Ok(refusal);
    }
    batch(&state, &rows).map(Look::Next)
}

fn refusal(state: &State, after: Position) -> Result<Option<Look>, sqlx::Error> {
    if !state.ours {
        return Ok(Some(Look::NoGeneration));
    }
    if after == Position::START {
        return Ok(None);
    }
    let purged = (transaction(&state.purged_xid)?, state.purged_seq);
    if after.generation != state.generation || (after.transaction, after.sequence) < purged {
        return Ok(Some(Look::Gone));
    }
    Ok((after.transaction >= transaction(&state.xmax)?).then_some(Look::Rewound))
}

fn batch(state: &State, rows: &[PgRow]) -> Result<Batch, sqlx::Error> {
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        // The outer join gives one row without an event when there is none.
        if row.try_get::<Option<i64>, _>("seq")?.is_some() {
            events.push(Found::from_row(row)?.event(state.generation)?);
        }
    }
    let found = state.found.unwrap_or_default();
    let more = found == LIMIT || i64::try_from(events.len()).unwrap_or(i64::MAX) < found;
    if more {
        keep_transactions_whole(&mut events);
    }
    Ok(Batch { events, more, withheld: state.withheld.map(SqlTimestamp::to_jiff) })
}

/// Leaves the last transaction, which may be cut off, to the next read; unless it fills this one alone.
fn keep_transactions_whole(events: &mut Vec<Event>) {
    let transaction = |event: &Event| event.cursor.map(|cursor| cursor.transaction);
    let last = events.last().map(transaction);
    if events.first().map(transaction) != last {
        let whole = events.iter().rposition(|event| Some(transaction(event)) != last);
        events.truncate(whole.map_or(0, |index| index + 1));
    }
}

impl Found {
    fn event(self, generation: i64) -> Result<Event, sqlx::Error> {
        let position = Position { generation, transaction: transaction(&self.xid)?, sequence: self.seq };
        Ok(Event {
            cursor: Some(position.into()),
            account_id: self.account_id.to_string(),
            entity_id: self.entity_id.to_string(),
            entity_version: self.entity_version,
            occurred_at: Some(time::to_proto(self.occurred_at.to_jiff())),
            traceparent: self.traceparent,
            origin: origin(&self.origin),
            payload: Some(Any { type_url: format!("type.googleapis.com/{}", self.kind), value: self.payload }),
        })
    }
}

/// Events of older versions have none.
fn origin(encoded: &[u8]) -> Option<Origin> {
    if encoded.is_empty() { None } else { Origin::decode(encoded).ok() }
}

/// `xid8` as text, which sqlx has no type for. 63 bits last for millennia.
fn transaction(xid: &str) -> Result<i64, sqlx::Error> {
    xid.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
