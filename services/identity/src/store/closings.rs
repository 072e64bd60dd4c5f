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

/// Writes that an account is closed, and when its data is deleted. The row must be locked.
pub async fn close(tx: &mut PgConnection, account: &Account, delete_at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update accounts set state = $2, closes_at = null, remind_at = null, delete_at = $3, version = $4 where account_id = $1",
        account.id,
        account.state.as_str_name(),
        delete_at.to_sqlx() as _,
        account.version,
    )
    .execute(tx)
    .instrument(span("close account"))
    .await?;
    Ok(())
}

/// Closed accounts whose data is to be deleted.
pub async fn to_delete(tx: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<Uuid>, Error> {
    let accounts = sqlx::query_scalar!(
        "select account_id from accounts
         where delete_at <= $1 and not exists (select from account_deletions d where d.account_id = accounts.account_id)
         order by delete_at limit $2",
        now.to_sqlx() as _,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("find accounts to delete"))
    .await?;
    Ok(accounts)
}

/// Whether the data of a locked account is to be deleted now: of several replicas one tells so.
pub async fn is_to_delete(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (
               select from accounts where account_id = $1 and delete_at <= $2 and state = 'ACCOUNT_STATE_CLOSED'
                   and not exists (select from account_deletions where account_id = $1)) as "found!""#,
        account,
        now.to_sqlx() as _,
    );
    Ok(found.fetch_one(tx).instrument(span("look whether to delete account")).await?)
}

/// Whether the data of an account is being deleted, or gone.
pub async fn is_deleted(tx: &mut PgConnection, account: Uuid) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from account_deletions where account_id = $1) as "found!""#,
        account
    );
    Ok(found.fetch_one(tx).instrument(span("look for deleted account")).await?)
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
