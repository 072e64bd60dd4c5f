//! Codes that were sent and not yet used.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;

use crate::{domain::Bound, error::Error};

/// A code takes the place of the one that was sent for the same before.
pub async fn put(tx: &mut PgConnection, bound: &Bound, hash: &[u8], expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into one_time_codes (account_id, purpose, request_id, code_hash, expires_at) values ($1, $2, $3, $4, $5)
         on conflict (account_id, purpose, request_id)
         do update set code_hash = excluded.code_hash, expires_at = excluded.expires_at, tries = 0",
        bound.account,
        bound.purpose.name(),
        bound.request,
        hash,
        expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("put code"))
    .await?;
    Ok(())
}

/// Counts a try and returns the hash to compare with, while there are tries left. The row stays locked, so that tries at once
/// come one after the other.
pub async fn count_try(
    tx: &mut PgConnection,
    bound: &Bound,
    most: i32,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, Error> {
    let hash = sqlx::query_scalar!(
        "update one_time_codes set tries = tries + 1
         where account_id = $1 and purpose = $2 and request_id = $3 and tries < $4 and expires_at > $5 returning code_hash",
        bound.account,
        bound.purpose.name(),
        bound.request,
        most,
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("try code"))
    .await?;
    Ok(hash)
}

/// The code is used, or no longer wanted.
pub async fn remove(tx: &mut PgConnection, bound: &Bound) -> Result<(), Error> {
    sqlx::query!(
        "delete from one_time_codes where account_id = $1 and purpose = $2 and request_id = $3",
        bound.account,
        bound.purpose.name(),
        bound.request,
    )
    .execute(tx)
    .instrument(span("remove code"))
    .await?;
    Ok(())
}

/// Forgets codes that expired before `oldest`, at most a thousand. Returns how many.
pub async fn purge(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from one_time_codes where (account_id, purpose, request_id) in
         (select account_id, purpose, request_id from one_time_codes where expires_at < $1 order by expires_at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge codes"))
    .await?;
    Ok(purged.rows_affected())
}
