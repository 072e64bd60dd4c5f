//! The keys of access tokens.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;

use crate::{domain::SigningKey, error::Error};

/// A key with its private half as it is stored; that is `None` once it signs nothing any more.
#[derive(Clone)]
pub struct Stored {
    /// The key.
    pub key: SigningKey,
    /// Encrypted.
    pub sealed: Option<Vec<u8>>,
}

/// Makes every other transaction that changes keys wait for the end of this one; reading goes on. So of all replicas and
/// operators one at a time sees what is due and does it.
pub async fn lock(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("lock table signing_keys in share row exclusive mode")
        .execute(tx)
        .instrument(span("lock signing keys"))
        .await?;
    Ok(())
}

/// The keys of the set, and the last `past` that have left it; the newest first.
pub async fn list(tx: &mut PgConnection, past: i64) -> Result<Vec<Stored>, Error> {
    let rows = sqlx::query!(
        r#"select key_id, public_key, sealed, published_at as "published_at: jiff_sqlx::Timestamp",
                  signs_from as "signs_from: jiff_sqlx::Timestamp", expired_at as "expired_at: jiff_sqlx::Timestamp",
                  withdrawn_at as "withdrawn_at: jiff_sqlx::Timestamp", reason
           from signing_keys
           where sealed is not null
              or key_id in (select key_id from signing_keys where sealed is null order by published_at desc, key_id limit $1)
           order by signs_from desc, published_at desc"#,
        past,
    )
    .fetch_all(tx)
    .instrument(span("list signing keys"))
    .await?;
    let stored = rows.into_iter().map(|row| Stored {
        key: SigningKey {
            id: row.key_id,
            public: row.public_key,
            published_at: row.published_at.to_jiff(),
            signs_from: row.signs_from.to_jiff(),
            expired_at: row.expired_at.map(jiff_sqlx::Timestamp::to_jiff),
            withdrawn_at: row.withdrawn_at.map(jiff_sqlx::Timestamp::to_jiff),
            reason: row.reason,
        },
        sealed: row.sealed,
    });
    Ok(stored.collect())
}

/// Whether there is or was a key of this id.
pub async fn exists(tx: &mut PgConnection, id: &str) -> Result<bool, Error> {
    let exists = sqlx::query_scalar!(r#"select exists (select from signing_keys where key_id = $1) as "exists!""#, id)
        .fetch_one(tx)
        .instrument(span("find signing key"))
        .await?;
    Ok(exists)
}

/// Adds a key to the set.
pub async fn insert(tx: &mut PgConnection, key: &SigningKey, sealed: &[u8]) -> Result<(), Error> {
    sqlx::query!(
        "insert into signing_keys (key_id, public_key, sealed, published_at, signs_from) values ($1, $2, $3, $4, $5)",
        key.id,
        key.public,
        sealed,
        key.published_at.to_sqlx() as _,
        key.signs_from.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert signing key"))
    .await?;
    Ok(())
}

/// Moves the time from which a key signs.
pub async fn sign_from(tx: &mut PgConnection, id: &str, from: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update signing_keys set signs_from = greatest($2, published_at) where key_id = $1",
        id,
        from.to_sqlx() as _
    )
    .execute(tx)
    .instrument(span("move signing key"))
    .await?;
    Ok(())
}

/// Takes a key out of the set and forgets its private half: its last token has expired.
pub async fn expire(tx: &mut PgConnection, id: &str, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update signing_keys set expired_at = $2, sealed = null where key_id = $1 and sealed is not null",
        id,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("expire signing key"))
    .await?;
    Ok(())
}

/// Takes a key out of the set and forgets its private half, because an operator says so.
pub async fn withdraw(tx: &mut PgConnection, id: &str, reason: &str, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update signing_keys set withdrawn_at = $2, reason = $3, sealed = null where key_id = $1 and withdrawn_at is null",
        id,
        now.to_sqlx() as _,
        reason,
    )
    .execute(tx)
    .instrument(span("withdraw signing key"))
    .await?;
    Ok(())
}
