//! Open invitations.

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

/// Makes one more token good for the invitation that it names; the eight newest are. A try to send that failed may have
/// arrived all the same, so its token stays good for a while.
pub async fn add_token(tx: &mut PgConnection, token: &Token) -> Result<(), Error> {
    sqlx::query!(
        "update invitations set token_hashes = $3::bytea || token_hashes[1:7] where account_id = $1 and user_id = $2",
        token.account,
        token.subject,
        token.hash(),
    )
    .execute(tx)
    .instrument(span("add invitation token"))
    .await?;
    Ok(())
}

/// Makes every token of a user's invitation worthless and sets when it expires.
pub async fn renew(tx: &mut PgConnection, account: Uuid, user: Uuid, expires_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update invitations set token_hashes = '{}', expires_at = $3 where account_id = $1 and user_id = $2",
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
