//! Which life of the database this is. Transaction numbers order the feed, and they start over when the database was
//! restored from a logical copy, or go back when the server was rewound to an earlier time. Then the generation rises,
//! every older cursor is refused with CURSOR_GONE, and consumers replay from the first event kept.

use diwan_store::Error;
use sqlx::{Connection as _, PgPool};

/// Makes sure that the generation belongs to this life of the database, and raises it after a restore. The server calls
/// it by itself whenever it finds another one.
///
/// # Errors
/// [`Error::Sqlx`].
pub async fn ensure_generation(pool: &PgPool) -> Result<(), Error> {
    sqlx::query("insert into feed_generation (generation, origin) values (1, feed_origin()) on conflict do nothing")
        .execute(pool)
        .await?;
    let (generation, ours): (i64, bool) =
        sqlx::query_as("select generation, origin = feed_origin() from feed_generation").fetch_one(pool).await?;
    if ours { Ok(()) } else { raise(pool, generation).await }
}

/// Raises the generation, unless somebody did since it was `generation`.
///
/// Every event written from now on comes after every older one: the lock waits for the writers that are under way and
/// keeps others out, and transaction 0 is older than any that they can have.
pub(crate) async fn raise(pool: &PgPool, generation: i64) -> Result<(), Error> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    let raised = sqlx::query(
        "update feed_generation
         set generation = generation + 1, origin = feed_origin(), purged_xid = '0', purged_seq = 0
         where generation = $1",
    )
    .bind(generation)
    .execute(&mut *tx)
    .await?;
    if raised.rows_affected() == 1 {
        sqlx::query("lock table feed_events in exclusive mode").execute(&mut *tx).await?;
        // The whole outbox takes its time.
        sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
        sqlx::query("update feed_events set xid = '0'").execute(&mut *tx).await?;
        tracing::error!(from = generation, "the database was restored or rewound: consumers of its feed start over");
    }
    Ok(tx.commit().await?)
}
