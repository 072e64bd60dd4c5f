//! Failed tries, counted where every replica sees them.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;

use crate::{domain::Failures, error::Error};

struct Counted {
    recent: i32,
    window_began: jiff_sqlx::Timestamp,
    in_a_row: i32,
    closed_until: jiff_sqlx::Timestamp,
}

impl From<Counted> for Failures {
    fn from(row: Counted) -> Self {
        Self {
            recent: row.recent,
            window_began: row.window_began.to_jiff(),
            in_a_row: row.in_a_row,
            closed_until: row.closed_until.to_jiff(),
        }
    }
}

/// The failures of `key` that `counter` counts, if there were any.
pub async fn find(tx: &mut PgConnection, counter: &str, key: &[u8]) -> Result<Option<Failures>, Error> {
    let row = sqlx::query_as!(
        Counted,
        r#"select recent, window_began as "window_began: jiff_sqlx::Timestamp", in_a_row,
                  closed_until as "closed_until: jiff_sqlx::Timestamp"
           from failures where counter = $1 and key = $2"#,
        counter,
        key,
    )
    .fetch_optional(tx)
    .instrument(span("find failures"))
    .await?;
    Ok(row.map(Failures::from))
}

/// The same, to be changed: whoever else wants to waits until the transaction ends. A row is made where there is none, so that
/// there is something to wait for.
pub async fn find_for_update(
    tx: &mut PgConnection,
    counter: &str,
    key: &[u8],
    now: Timestamp,
) -> Result<Failures, Error> {
    // The update changes nothing but takes the lock.
    let row = sqlx::query_as!(
        Counted,
        r#"insert into failures (counter, key, recent, window_began, in_a_row, closed_until) values ($1, $2, 0, $3, 0, $3)
           on conflict (counter, key) do update set recent = failures.recent
           returning recent, window_began as "window_began: jiff_sqlx::Timestamp", in_a_row,
                     closed_until as "closed_until: jiff_sqlx::Timestamp""#,
        counter,
        key,
        now.to_sqlx() as _,
    )
    .fetch_one(tx)
    .instrument(span("lock failures"))
    .await?;
    Ok(row.into())
}

/// Writes what [`find_for_update`] found and a failure changed.
pub async fn update(tx: &mut PgConnection, counter: &str, key: &[u8], failures: &Failures) -> Result<(), Error> {
    sqlx::query!(
        "update failures set recent = $3, window_began = $4, in_a_row = $5, closed_until = $6 where counter = $1 and key = $2",
        counter,
        key,
        failures.recent,
        failures.window_began.to_sqlx() as _,
        failures.in_a_row,
        failures.closed_until.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("update failures"))
    .await?;
    Ok(())
}

/// Forgets the failures of `key` and returns them.
pub async fn take(tx: &mut PgConnection, counter: &str, key: &[u8]) -> Result<Option<Failures>, Error> {
    let row = sqlx::query_as!(
        Counted,
        r#"delete from failures where counter = $1 and key = $2
           returning recent, window_began as "window_began: jiff_sqlx::Timestamp", in_a_row,
                     closed_until as "closed_until: jiff_sqlx::Timestamp""#,
        counter,
        key,
    )
    .fetch_optional(tx)
    .instrument(span("forget failures"))
    .await?;
    Ok(row.map(Failures::from))
}

/// Forgets failures whose delays ended and whose windows began before `oldest`, at most a thousand. Returns how many.
pub async fn purge(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from failures where (counter, key) in
         (select counter, key from failures where greatest(window_began, closed_until) < $1 limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge failures"))
    .await?;
    Ok(purged.rows_affected())
}
