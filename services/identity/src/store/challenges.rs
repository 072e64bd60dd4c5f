//! Sign-ins that wait for a second factor.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Token, error::Error};

/// A challenge that can be answered.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Who signs in.
    pub user: Uuid,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Adds the challenge that `token` names.
pub async fn insert(tx: &mut PgConnection, token: &Token, user: Uuid, expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into sign_in_challenges (account_id, id, user_id, secret_hash, expires_at) values ($1, $2, $3, $4, $5)",
        token.account,
        token.subject,
        user,
        token.hash(),
        expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert challenge"))
    .await?;
    Ok(())
}

/// The open challenge that `token` names. Not locked: its user is to be locked first.
pub async fn find(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<Option<Open>, Error> {
    let row = sqlx::query!(
        r#"select user_id, expires_at as "expires_at: jiff_sqlx::Timestamp" from sign_in_challenges
           where account_id = $1 and id = $2 and secret_hash = $3 and expires_at > $4"#,
        token.account,
        token.subject,
        token.hash(),
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("find challenge"))
    .await?;
    Ok(row.map(|row| Open { user: row.user_id, expires_at: row.expires_at.to_jiff() }))
}

/// Counts a try while there are tries left. The row stays locked, so that answers at once come one after the other.
pub async fn count_try(tx: &mut PgConnection, token: &Token, most: i32, now: Timestamp) -> Result<bool, Error> {
    let counted = sqlx::query!(
        "update sign_in_challenges set tries = tries + 1
         where account_id = $1 and id = $2 and secret_hash = $3 and tries < $4 and expires_at > $5",
        token.account,
        token.subject,
        token.hash(),
        most,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("try challenge"))
    .await?;
    Ok(counted.rows_affected() == 1)
}

/// The challenge is answered.
pub async fn remove(tx: &mut PgConnection, token: &Token) -> Result<(), Error> {
    sqlx::query!("delete from sign_in_challenges where account_id = $1 and id = $2", token.account, token.subject)
        .execute(tx)
        .instrument(span("remove challenge"))
        .await?;
    Ok(())
}

/// Ends every challenge of a user.
pub async fn remove_all(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from sign_in_challenges where account_id = $1 and user_id = $2", account, user)
        .execute(tx)
        .instrument(span("remove challenges"))
        .await?;
    Ok(())
}

/// Forgets challenges that expired before `oldest`, at most a thousand. Returns how many.
pub async fn purge(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from sign_in_challenges where (account_id, id) in
         (select account_id, id from sign_in_challenges where expires_at < $1 order by expires_at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge challenges"))
    .await?;
    Ok(purged.rows_affected())
}
