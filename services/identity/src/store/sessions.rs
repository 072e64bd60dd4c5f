//! Sessions and their refresh tokens.

use std::time::Duration;

use diwan_access::token::Epochs;
use diwan_runtime::clock::after;
use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{Remembered, Token},
    error::Error,
};

/// A session ends when it has not been refreshed for so long.
const IDLE: Duration = Duration::from_hours(30 * 24);

/// Begins the session that `token` names, with `token` as its first refresh token.
pub async fn insert(tx: &mut PgConnection, token: &Token, user: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into sessions (account_id, id, user_id, family_hash, current_hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        token.account,
        token.subject,
        user,
        token.family_hash(),
        token.single_hash(),
        now.to_sqlx() as _,
        after(now, IDLE).to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert session"))
    .await?;
    Ok(())
}

/// Whose the live session is that `token` names. Not locked: the user is to be locked first.
pub async fn user_of(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<Option<Uuid>, Error> {
    let user = sqlx::query_scalar!(
        "select user_id from sessions where account_id = $1 and id = $2 and ended_at is null and expires_at > $3",
        token.account,
        token.subject,
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("find session"))
    .await?;
    Ok(user)
}

/// The refresh tokens of the live session that `token` names, to be changed.
pub async fn find_for_update(
    tx: &mut PgConnection,
    token: &Token,
    now: Timestamp,
) -> Result<Option<Remembered>, Error> {
    let row = sqlx::query!(
        "select family_hash, current_hash, previous_hash from sessions
         where account_id = $1 and id = $2 and ended_at is null and expires_at > $3 for update",
        token.account,
        token.subject,
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("lock session"))
    .await?;
    Ok(row.map(|row| Remembered { family: row.family_hash, current: row.current_hash, previous: row.previous_hash }))
}

/// `next` becomes the newest token of its session, given for `parent`.
pub async fn rotate(tx: &mut PgConnection, parent: &Token, next: &Token, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update sessions set previous_hash = $3, current_hash = $4, expires_at = $5 where account_id = $1 and id = $2",
        next.account,
        next.subject,
        parent.single_hash(),
        next.single_hash(),
        after(now, IDLE).to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("rotate refresh token"))
    .await?;
    Ok(())
}

/// Ends a session. Returns the epoch that its tokens now fall short of, or `None` when it has ended already.
pub async fn end(tx: &mut PgConnection, account: Uuid, session: Uuid, now: Timestamp) -> Result<Option<i64>, Error> {
    let epoch = sqlx::query_scalar!(
        "update sessions set ended_at = $3, epoch = epoch + 1 where account_id = $1 and id = $2 and ended_at is null
         returning epoch",
        account,
        session,
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("end session"))
    .await?;
    Ok(epoch)
}

/// Ends every session of a user: reactivation does not bring them back.
pub async fn end_all(tx: &mut PgConnection, account: Uuid, user: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update sessions set ended_at = $3, epoch = epoch + 1 where account_id = $1 and user_id = $2 and ended_at is null",
        account,
        user,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("end sessions"))
    .await?;
    Ok(())
}

/// The epochs for a token of a session.
pub async fn epochs(tx: &mut PgConnection, account: Uuid, session: Uuid) -> Result<Epochs, Error> {
    let row = sqlx::query!(
        "select a.epoch as account, u.epoch as \"user\", s.epoch as session
         from sessions s
         join users u on u.account_id = s.account_id and u.id = s.user_id
         join accounts a on a.account_id = s.account_id
         where s.account_id = $1 and s.id = $2",
        account,
        session,
    )
    .fetch_one(tx)
    .instrument(span("get epochs"))
    .await?;
    Ok(Epochs { account: row.account, user: row.user, session: row.session })
}

/// Forgets sessions that expired before `oldest`, at most a thousand. Returns how many.
pub async fn purge(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from sessions where (account_id, id) in
         (select account_id, id from sessions where expires_at < $1 order by expires_at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge sessions"))
    .await?;
    Ok(purged.rows_affected())
}
