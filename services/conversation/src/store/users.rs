//! The users, as identity says.

use diwan_access::User;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// Takes in a user unless a newer version is known. Returns whether it was taken in.
pub async fn upsert(
    tx: &mut Tx,
    account: Uuid,
    id: Uuid,
    version: i64,
    role: i16,
    active: bool,
) -> Result<bool, Error> {
    let taken = sqlx::query!(
        "insert into users as known (account_id, id, role, active, version) values ($1, $2, $3, $4, $5)
         on conflict (account_id, id) do update
             set role = excluded.role, active = excluded.active, version = excluded.version
         where known.version < excluded.version",
        account,
        id,
        role,
        active,
        version
    )
    .execute(tx)
    .instrument(diwan_store::span("upsert user"))
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Keeps a caller from being deactivated until this transaction ends, so that he cannot come to hold something just after it was taken
/// from him.
///
/// Somebody of whom identity's feed has not told yet is noted as his token shows him: what it tells of him waits for this transaction, and
/// takes the place of the note, which is older than any of it.
///
/// # Errors
/// [`Error::Deactivated`].
pub async fn require_active(tx: &mut Tx, caller: &User) -> Result<(), Error> {
    let (account, id) = (caller.account_id, caller.user_id);
    let mut active = share(tx, account, id).await?;
    if active.is_none() {
        note(tx, caller).await?;
        active = share(tx, account, id).await?;
    }
    if active == Some(true) { Ok(()) } else { Err(Error::Deactivated) }
}

async fn note(tx: &mut Tx, caller: &User) -> Result<(), Error> {
    sqlx::query!(
        "insert into users (account_id, id, role, active, version) values ($1, $2, $3, true, 0) on conflict do nothing",
        caller.account_id,
        caller.user_id,
        i16::try_from(i32::from(caller.role)).unwrap_or_default()
    )
    .execute(tx)
    .instrument(diwan_store::span("note caller"))
    .await?;
    Ok(())
}

/// Keeps a user as he is until this transaction ends. Whether his access is not cut; `None`: he is not known.
pub async fn share(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<bool>, Error> {
    let active =
        sqlx::query_scalar!("select active from users where account_id = $1 and id = $2 for share", account, id)
            .fetch_optional(tx)
            .instrument(diwan_store::span("share user"))
            .await?;
    Ok(active)
}

/// Keeps a user who may be given something from being deactivated until this transaction ends.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::NotAssignable`].
pub async fn require_assignable(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<(), Error> {
    match share(tx, account, id).await? {
        None => Err(Error::UserNotFound),
        Some(false) => Err(Error::NotAssignable),
        Some(true) => Ok(()),
    }
}

/// Refuses somebody who never was a user of the account.
///
/// # Errors
/// [`Error::UserNotFound`].
pub async fn require_known(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<(), Error> {
    sqlx::query!("select from users where account_id = $1 and id = $2", account, id)
        .fetch_optional(tx)
        .instrument(diwan_store::span("look for user"))
        .await?
        .map(drop)
        .ok_or(Error::UserNotFound)
}

/// Refuses where one of these, who are all different, never was a user of the account.
///
/// # Errors
/// [`Error::UserNotFound`].
pub async fn require_all_known(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    let known = sqlx::query_scalar!(
        r#"select count(*) as "count!" from users where account_id = $1 and id = any($2)"#,
        account,
        ids
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("count known users"))
    .await?;
    if usize::try_from(known).is_ok_and(|known| known == ids.len()) { Ok(()) } else { Err(Error::UserNotFound) }
}

/// Role and whether his access is not cut; `None`: not known yet.
pub async fn find(pool: &sqlx::PgPool, account: Uuid, id: Uuid) -> Result<Option<(i16, bool)>, Error> {
    let row = sqlx::query!("select role, active from users where account_id = $1 and id = $2", account, id)
        .fetch_optional(pool)
        .instrument(diwan_store::span("read user"))
        .await?;
    Ok(row.map(|row| (row.role, row.active)))
}
