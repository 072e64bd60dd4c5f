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
    client::Client,
    domain::{Remembered, Token},
    error::Error,
};

/// A session ends when it has not been refreshed for so long.
const IDLE: Duration = Duration::from_hours(30 * 24);
/// And after so long in any case.
const LONGEST: Duration = Duration::from_hours(90 * 24);

/// A session as its user sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    pub created_at: Timestamp,
    /// When it began or was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub expires_at: Timestamp,
    /// What the client called itself then.
    pub user_agent: String,
    /// Where it came from then.
    pub address: Option<String>,
}

/// Begins the session that `token` names, with `token` as its first refresh token.
pub async fn insert(
    tx: &mut PgConnection,
    token: &Token,
    user: Uuid,
    client: &Client,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into sessions (account_id, id, user_id, family_hash, current_hash, created_at, last_used_at, expires_at,
                               user_agent, address)
         values ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9::text::inet)",
        token.account,
        token.subject,
        user,
        token.family_hash(),
        token.single_hash(),
        now.to_sqlx() as _,
        after(now, IDLE).to_sqlx() as _,
        client.user_agent,
        client.address.map(|address| address.to_string()),
    )
    .execute(tx)
    .instrument(span("insert session"))
    .await?;
    Ok(())
}

/// Whether a user had sessions, and none of them came from such a client.
pub async fn is_news(tx: &mut PgConnection, account: Uuid, user: Uuid, client: &Client) -> Result<bool, Error> {
    let news = sqlx::query_scalar!(
        r#"select not bool_or(user_agent = $3 and address is not distinct from $4::text::inet)
           from sessions where account_id = $1 and user_id = $2"#,
        account,
        user,
        client.user_agent,
        client.address.map(|address| address.to_string()),
    )
    .fetch_one(tx)
    .instrument(span("compare sessions"))
    .await?;
    Ok(news.unwrap_or_default())
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

/// `next` becomes the newest token of its session, given for `parent` to `client`.
pub async fn rotate(
    tx: &mut PgConnection,
    parent: &Token,
    next: &Token,
    client: &Client,
    now: Timestamp,
) -> Result<(), Error> {
    let seconds = i32::try_from(LONGEST.as_secs()).unwrap_or(i32::MAX);
    sqlx::query!(
        "update sessions set previous_hash = $3, current_hash = $4, last_used_at = $5, user_agent = $7, address = $8::text::inet,
                             expires_at = least($6, created_at + make_interval(secs => $9::integer))
         where account_id = $1 and id = $2",
        next.account,
        next.subject,
        parent.single_hash(),
        next.single_hash(),
        now.to_sqlx() as _,
        after(now, IDLE).to_sqlx() as _,
        client.user_agent,
        client.address.map(|address| address.to_string()),
        seconds,
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

/// Ends every session of a user but `kept`, and returns the others with the epochs that their tokens now fall short of.
pub async fn end_others(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    kept: Uuid,
    now: Timestamp,
) -> Result<Vec<(Uuid, i64)>, Error> {
    let rows = sqlx::query!(
        "update sessions set ended_at = $4, epoch = epoch + 1
         where account_id = $1 and user_id = $2 and id <> $3 and ended_at is null returning id, epoch",
        account,
        user,
        kept,
        now.to_sqlx() as _,
    )
    .fetch_all(tx)
    .instrument(span("end other sessions"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.epoch)).collect())
}

/// Whether a user has or had this session.
pub async fn is_of(tx: &mut PgConnection, account: Uuid, user: Uuid, session: Uuid) -> Result<bool, Error> {
    let is = sqlx::query_scalar!(
        r#"select exists (select from sessions where account_id = $1 and user_id = $2 and id = $3) as "is!""#,
        account,
        user,
        session,
    )
    .fetch_one(tx)
    .instrument(span("whose session"))
    .await?;
    Ok(is)
}

/// The live sessions of a user, the newest first.
pub async fn list(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    now: Timestamp,
    after: Option<&(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Session>, Error> {
    let (time, id) = after.map(|(time, id)| (time.to_sqlx(), *id)).unzip();
    let rows = sqlx::query!(
        r#"select id, created_at as "created_at: jiff_sqlx::Timestamp", last_used_at as "last_used_at: jiff_sqlx::Timestamp",
                  expires_at as "expires_at: jiff_sqlx::Timestamp", user_agent, host(address) as address
           from sessions
           where account_id = $1 and user_id = $2 and ended_at is null and expires_at > $3
             and ($4::timestamptz is null or (created_at, id) < ($4, $5))
           order by created_at desc, id desc limit $6"#,
        account,
        user,
        now.to_sqlx() as _,
        time as _,
        id,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("list sessions"))
    .await?;
    let session = rows.into_iter().map(|row| Session {
        id: row.id,
        created_at: row.created_at.to_jiff(),
        last_used_at: row.last_used_at.to_jiff(),
        expires_at: row.expires_at.to_jiff(),
        user_agent: row.user_agent,
        address: row.address,
    });
    Ok(session.collect())
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
