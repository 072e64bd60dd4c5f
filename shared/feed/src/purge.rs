//! Forgetting old events.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{Connection as _, PgConnection, PgPool};

/// How many events one transaction deletes.
const CHUNK: i64 = 1000;

/// Deletes the events from before `oldest`, up to the first later one. Returns how many.
///
/// Nothing calls this by itself: a consumer that has not read them gets CURSOR_GONE and replays what is left, and a new
/// one never learns of what changed last before `oldest`. It is for feeds whose consumers all start from a snapshot.
///
/// # Errors
/// [`diwan_store::Error::Sqlx`]; what was deleted before it stays deleted.
pub async fn purge(pool: &PgPool, oldest: Timestamp) -> Result<u64, diwan_store::Error> {
    let mut connection = pool.acquire().await?;
    let mut total = 0;
    loop {
        let purged = purge_some(&mut connection, oldest).await?;
        total += purged;
        if purged == 0 {
            return Ok(total);
        }
    }
}

async fn purge_some(connection: &mut PgConnection, oldest: Timestamp) -> Result<u64, sqlx::Error> {
    let mut tx = connection.begin().await?;
    // One at a time, so that the mark of what is gone only rises. It and the deletion commit together: a reader's one
    // statement sees both or neither.
    sqlx::query("select from feed_generation for update").execute(&mut *tx).await?;
    let first: Vec<(String, i64, SqlTimestamp)> = sqlx::query_as(
        "select xid::text, seq, occurred_at from feed_events where xid < pg_snapshot_xmin(pg_current_snapshot())
         order by xid, seq limit $1",
    )
    .bind(CHUNK)
    .fetch_all(&mut *tx)
    .await?;
    let Some((xid, seq, _)) = first.into_iter().take_while(|event| event.2 < oldest.to_sqlx()).last() else {
        return Ok(0);
    };
    let deleted = sqlx::query("delete from feed_events where (xid, seq) <= ($1::xid8, $2)")
        .bind(&xid)
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    sqlx::query("update feed_generation set purged_xid = $1::xid8, purged_seq = $2")
        .bind(&xid)
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(deleted.rows_affected())
}
