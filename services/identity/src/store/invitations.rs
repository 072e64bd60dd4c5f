//! Open invitations.

use std::collections::HashMap;

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Token, error::Error};

/// Adds the invitation of a user.
pub async fn insert(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    teams: &[Uuid],
    expires_at: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into invitations (account_id, user_id, team_ids, expires_at) values ($1, $2, $3, $4)",
        account,
        user,
        teams,
        expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert invitation"))
    .await?;
    Ok(())
}

/// When the invitation of a user expires, if he has one.
pub async fn expires_at(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<Option<Timestamp>, Error> {
    let row = sqlx::query!(
        r#"select expires_at as "expires_at: jiff_sqlx::Timestamp" from invitations where account_id = $1 and user_id = $2"#,
        account,
        user,
    )
    .fetch_optional(tx)
    .instrument(span("get invitation"))
    .await?;
    Ok(row.map(|row| row.expires_at.to_jiff()))
}

/// Which renewal of a user's invitation is the newest, and when it expires; `None` where he has none.
pub async fn newest(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<Option<(i64, Timestamp)>, Error> {
    let row = sqlx::query!(
        r#"select round, expires_at as "expires_at: jiff_sqlx::Timestamp" from invitations
           where account_id = $1 and user_id = $2"#,
        account,
        user,
    )
    .fetch_optional(tx)
    .instrument(span("get invitation's renewal"))
    .await?;
    Ok(row.map(|row| (row.round, row.expires_at.to_jiff())))
}

/// The teams of users' invitations and when they expire.
pub async fn of_users(
    tx: &mut PgConnection,
    account: Uuid,
    users: &[Uuid],
) -> Result<HashMap<Uuid, (Vec<Uuid>, Timestamp)>, Error> {
    let rows = sqlx::query!(
        r#"select user_id, team_ids, expires_at as "expires_at: jiff_sqlx::Timestamp" from invitations
           where account_id = $1 and user_id = any ($2)"#,
        account,
        users,
    )
    .fetch_all(tx)
    .instrument(span("get invitations"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, (row.team_ids, row.expires_at.to_jiff()))).collect())
}

/// Invited users whose invitations have expired, account and user, at most so many. Only a look: who ends one decides again.
pub async fn expired(tx: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select u.account_id, u.id from users u
         join invitations i on i.account_id = u.account_id and i.user_id = u.id
         where u.state = 'USER_STATE_INVITED' and i.expires_at <= $1 limit $2",
        now.to_sqlx() as _,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("look for expired invitations"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// Makes one more token good for the invitation that it names; the eight newest are. A try to send that failed may have
/// arrived all the same, so its token stays good for a while. Returns whether `round` is still the newest renewal: an e-mail
/// that was made for an older one may be on its way to a wrong address, and its token must never be good.
pub async fn add_token(tx: &mut PgConnection, token: &Token, round: i64) -> Result<bool, Error> {
    let added = sqlx::query!(
        "update invitations set token_hashes = $3::bytea || token_hashes[1:7]
         where account_id = $1 and user_id = $2 and round = $4",
        token.account,
        token.subject,
        token.hash(),
        round,
    )
    .execute(tx)
    .instrument(span("add invitation token"))
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Makes every token of a user's invitation worthless and sets when it expires.
pub async fn renew(tx: &mut PgConnection, account: Uuid, user: Uuid, expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update invitations set token_hashes = '{}', expires_at = $3, round = round + 1 where account_id = $1 and user_id = $2",
        account,
        user,
        expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("renew invitation"))
    .await?;
    Ok(())
}

/// Whether the token opens an invitation now. Only [`take`] decides.
pub async fn is_open(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<bool, Error> {
    let open = sqlx::query_scalar!(
        r#"select exists (select from invitations where account_id = $1 and user_id = $2 and $3 = any (token_hashes)
           and expires_at > $4) as "open!""#,
        token.account,
        token.subject,
        token.hash(),
        now.to_sqlx() as _,
    )
    .fetch_one(tx)
    .instrument(span("look at invitation"))
    .await?;
    Ok(open)
}

/// Uses the invitation up and returns its teams. Of those who use it at once one gets it: the row can be deleted once, and the
/// others wait for that and then find none.
///
/// # Errors
/// [`Error::InvitationNotFound`].
pub async fn take(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<Vec<Uuid>, Error> {
    let teams = sqlx::query_scalar!(
        "delete from invitations where account_id = $1 and user_id = $2 and $3 = any (token_hashes) and expires_at > $4
         returning team_ids",
        token.account,
        token.subject,
        token.hash(),
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("take invitation"))
    .await?;
    teams.ok_or(Error::InvitationNotFound)
}
