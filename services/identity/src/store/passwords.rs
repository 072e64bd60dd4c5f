//! New passwords, and who may set one without the old one.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Token, error::Error};

/// Replaces the hash `old`; `false` when it has become another one meanwhile.
pub async fn replace(tx: &mut PgConnection, account: Uuid, user: Uuid, old: &str, new: &str) -> Result<bool, Error> {
    let replaced = sqlx::query!(
        "update users set password_hash = $4 where account_id = $1 and id = $2 and password_hash = $3",
        account,
        user,
        old,
        new,
    )
    .execute(tx)
    .instrument(span("replace password"))
    .await?;
    Ok(replaced.rows_affected() == 1)
}

/// Sets the password of a user whose row is locked, and raises his epoch, which is returned.
pub async fn reset(tx: &mut PgConnection, account: Uuid, user: Uuid, hash: &str) -> Result<i64, Error> {
    let epoch = sqlx::query_scalar!(
        "update users set password_hash = $3, epoch = epoch + 1 where account_id = $1 and id = $2 returning epoch",
        account,
        user,
        hash,
    )
    .fetch_one(tx)
    .instrument(span("reset password"))
    .await?;
    Ok(epoch)
}

/// Makes one more token good for the user that it names.
pub async fn add_reset(tx: &mut PgConnection, token: &Token, expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into password_resets (account_id, user_id, token_hash, expires_at) values ($1, $2, $3, $4)",
        token.account,
        token.subject,
        token.hash(),
        expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("add password reset"))
    .await?;
    Ok(())
}

/// Whether the token resets a password now. It stays so while its user's row is locked.
pub async fn is_reset_open(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<bool, Error> {
    let open = sqlx::query_scalar!(
        r#"select exists (select from password_resets where account_id = $1 and user_id = $2 and token_hash = $3
           and expires_at > $4) as "open!""#,
        token.account,
        token.subject,
        token.hash(),
        now.to_sqlx() as _,
    )
    .fetch_one(tx)
    .instrument(span("look at password reset"))
    .await?;
    Ok(open)
}

/// Makes every token of a user worthless.
pub async fn withdraw_resets(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from password_resets where account_id = $1 and user_id = $2", account, user)
        .execute(tx)
        .instrument(span("withdraw password resets"))
        .await?;
    Ok(())
}

/// Forgets resets that expired before `oldest`, at most a thousand. Returns how many.
pub async fn purge_resets(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from password_resets where (account_id, user_id, token_hash) in
         (select account_id, user_id, token_hash from password_resets where expires_at < $1 order by expires_at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge password resets"))
    .await?;
    Ok(purged.rows_affected())
}
