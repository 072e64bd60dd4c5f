//! Accounts that are being closed.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Account, error::Error};

/// Writes the state of an account. The row must be locked.
pub async fn set_state(tx: &mut PgConnection, account: &Account, remind_at: Option<Timestamp>) -> Result<(), Error> {
    sqlx::query!(
        "update accounts set state = $2, closes_at = $3, remind_at = $4, version = $5 where account_id = $1",
        account.id,
        account.state.as_str_name(),
        account.closes_at.map(Timestamp::to_sqlx) as _,
        remind_at.map(Timestamp::to_sqlx) as _,
        account.version,
    )
    .execute(tx)
    .instrument(span("set account state"))
    .await?;
    Ok(())
}

/// Raises the account's epoch and returns it: no token of before is good any more.
pub async fn raise_epoch(tx: &mut PgConnection, account: Uuid) -> Result<i64, Error> {
    let epoch =
        sqlx::query_scalar!("update accounts set epoch = epoch + 1 where account_id = $1 returning epoch", account,)
            .fetch_one(tx)
            .instrument(span("raise account epoch"))
            .await?;
    Ok(epoch)
}

/// Ends the sessions of everybody but `kept`.
pub async fn end_sessions(
    tx: &mut PgConnection,
    account: Uuid,
    kept: Option<Uuid>,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "update sessions set ended_at = $3
         where account_id = $1 and user_id is distinct from $2 and ended_at is null",
        account,
        kept,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("end sessions of account"))
    .await?;
    Ok(())
}

/// Lets every open invitation expire now; the sweep over expired ones does the rest.
pub async fn expire_invitations(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update invitations set expires_at = $2 where account_id = $1 and expires_at > $2",
        account,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("expire invitations of account"))
    .await?;
    Ok(())
}

/// Frees every address of an account.
pub async fn release_addresses(tx: &mut PgConnection, account: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from email_addresses where account_id = $1", account)
        .execute(tx)
        .instrument(span("release addresses of account"))
        .await?;
    Ok(())
}

/// The owner of an account.
pub async fn owner(tx: &mut PgConnection, account: Uuid) -> Result<Uuid, Error> {
    let owner = sqlx::query_scalar!("select id from users where account_id = $1 and role = 'ROLE_OWNER'", account)
        .fetch_one(tx)
        .instrument(span("find owner"))
        .await?;
    Ok(owner)
}

/// Accounts whose grace period is over.
pub async fn over(tx: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<Uuid>, Error> {
    let accounts = sqlx::query_scalar!(
        "select account_id from accounts where state = 'ACCOUNT_STATE_CLOSING' and closes_at <= $1
         order by closes_at limit $2",
        now.to_sqlx() as _,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("find accounts to close"))
    .await?;
    Ok(accounts)
}

/// Accounts whose owner is to be reminded.
pub async fn to_remind(tx: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<Uuid>, Error> {
    let accounts = sqlx::query_scalar!(
        "select account_id from accounts where state = 'ACCOUNT_STATE_CLOSING' and remind_at <= $1
         order by remind_at limit $2",
        now.to_sqlx() as _,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("find owners to remind"))
    .await?;
    Ok(accounts)
}

/// Notes that the reminder of an account is on its way. Returns whether it was due: of several replicas one sends it.
pub async fn take_reminder(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<bool, Error> {
    let taken = sqlx::query!(
        "update accounts set remind_at = null
         where account_id = $1 and state = 'ACCOUNT_STATE_CLOSING' and remind_at <= $2",
        account,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("take reminder"))
    .await?;
    Ok(taken.rows_affected() == 1)
}
