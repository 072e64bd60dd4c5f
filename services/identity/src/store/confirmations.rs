//! Links that confirm the address of an account's owner.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Token, error::Error};

/// A link that may be sent.
pub struct Newest {
    /// Whose address it confirms.
    pub user_id: Uuid,
    /// Rises with every new link.
    pub round: i64,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Begins a new link for an owner; earlier ones are worthless from now on.
pub async fn renew(tx: &mut PgConnection, account: Uuid, user: Uuid, expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into email_confirmations as known (account_id, user_id, expires_at) values ($1, $2, $3)
         on conflict (account_id) do update
             set user_id = excluded.user_id, expires_at = excluded.expires_at, token_hashes = '{}', round = known.round + 1",
        account,
        user,
        expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("renew confirmation"))
    .await?;
    Ok(())
}

/// The newest link of an account.
pub async fn newest(tx: &mut PgConnection, account: Uuid) -> Result<Option<Newest>, Error> {
    let row = sqlx::query!(
        r#"select user_id, round, expires_at as "expires_at: jiff_sqlx::Timestamp" from email_confirmations
           where account_id = $1"#,
        account,
    )
    .fetch_optional(tx)
    .instrument(span("get confirmation"))
    .await?;
    Ok(row.map(|row| Newest { user_id: row.user_id, round: row.round, expires_at: row.expires_at.to_jiff() }))
}

/// Makes one more token good for a link, as of an invitation. Returns whether `round` is still the newest.
pub async fn add_token(tx: &mut PgConnection, token: &Token, round: i64) -> Result<bool, Error> {
    let added = sqlx::query!(
        "update email_confirmations set token_hashes = $3::bytea || token_hashes[1:7]
         where account_id = $1 and user_id = $2 and round = $4",
        token.account,
        token.subject,
        token.hash(),
        round,
    )
    .execute(tx)
    .instrument(span("add confirmation token"))
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Whether the token is good.
pub async fn is_good(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<bool, Error> {
    let good = sqlx::query_scalar!(
        r#"select exists (select from email_confirmations where account_id = $1 and user_id = $2
           and $3 = any (token_hashes) and expires_at > $4) as "good!""#,
        token.account,
        token.subject,
        token.hash(),
        now.to_sqlx() as _,
    )
    .fetch_one(tx)
    .instrument(span("look at confirmation"))
    .await?;
    Ok(good)
}

/// Forgets the link of an account: its owner is another one now.
pub async fn forget(tx: &mut PgConnection, account: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from email_confirmations where account_id = $1", account)
        .execute(tx)
        .instrument(span("forget confirmation"))
        .await?;
    Ok(())
}
