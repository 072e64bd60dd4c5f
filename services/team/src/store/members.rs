//! The users who have ever become active.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// Makes a user known; whether he was not yet. Whoever does so at the same time waits here for the first to end.
pub(crate) async fn insert(tx: &mut PgConnection, account: Uuid, user: Uuid, now: Timestamp) -> Result<bool, Error> {
    let inserted = sqlx::query!(
        "insert into members (account_id, user_id, created_at) values ($1, $2, $3) on conflict do nothing",
        account,
        user,
        now.to_sqlx(),
    )
    .execute(tx)
    .instrument(span("insert member"))
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Whether the account knows the user.
pub(crate) async fn exists(connection: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let found = sqlx::query!("select from members where account_id = $1 and user_id = $2", account, user)
        .fetch_optional(connection)
        .instrument(span("find member"))
        .await?;
    Ok(found.is_some())
}

/// Locks a user until the end of the transaction; whether the account knows him.
pub(crate) async fn lock(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let found =
        sqlx::query!("select from members where account_id = $1 and user_id = $2 for no key update", account, user)
            .fetch_optional(tx)
            .instrument(span("lock member"))
            .await?;
    Ok(found.is_some())
}
