//! Which heads of the audit log are still to be exported, and which logs there are.

use std::collections::BTreeMap;

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::audit::Head, error::Error};

/// Takes heads that have moved since they were exported last, `kept` in the folder or told to the log stream alone. Until `claimed_until`
/// no other replica takes them: no transaction is held while they are written.
pub async fn claim(
    tx: &mut PgConnection,
    kept: bool,
    now: Timestamp,
    claimed_until: Timestamp,
    limit: i64,
) -> Result<Vec<(Uuid, Head)>, Error> {
    let rows = sqlx::query!(
        "update audit_heads h set claimed_until = $3
         from (select account_id from audit_heads
               where case when $1 then kept else exported end < number and claimed_until <= $2
               limit $4 for update skip locked) due
         where h.account_id = due.account_id
         returning h.account_id, h.number, h.hash",
        kept,
        now.to_sqlx() as _,
        claimed_until.to_sqlx() as _,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("claim audit heads"))
    .await?;
    let head = |number, hash: Vec<u8>| Head { number, hash: hash.try_into().unwrap_or_default() };
    Ok(rows.into_iter().map(|row| (row.account_id, head(row.number, row.hash))).collect())
}

/// These heads are exported, signed at `now` or later. A log that somebody has cut off meanwhile is no longer than it is.
pub async fn exported(tx: &mut PgConnection, kept: bool, heads: &[(Uuid, Head)], now: Timestamp) -> Result<(), Error> {
    let accounts: Vec<_> = heads.iter().map(|(account, _)| *account).collect();
    let numbers: Vec<_> = heads.iter().map(|(_, head)| head.number).collect();
    sqlx::query!(
        "update audit_heads h
         set exported = least(greatest(h.exported, told.number), h.number),
             kept = case when $1 then least(greatest(h.kept, told.number), h.number) else h.kept end,
             -- Signatures tell seconds.
             kept_at = case when $1 then date_trunc('second', $4::timestamptz) else h.kept_at end,
             claimed_until = '-infinity'
         from unnest($2::uuid[], $3::bigint[]) as told (account_id, number)
         where h.account_id = told.account_id",
        kept,
        &accounts,
        &numbers,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("note exported audit heads"))
    .await?;
    Ok(())
}

/// What the database says of one log beside its entries.
#[derive(Clone, Debug)]
pub struct Log {
    /// The head, if there is one.
    pub head: Head,
    /// How far the account's deletion is, if it was deleted.
    pub deletion: Option<Deletion>,
}

/// How far the deletion of an account is that is there no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Some of its log is still there.
    UnderWay,
    /// Its log is gone.
    Done,
}

/// The last head of a log that was kept in the folder.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its number.
    pub number: i64,
    /// When, in whole seconds, and no later than it was signed.
    pub at: Timestamp,
}

/// What was kept of each log.
pub async fn kept(tx: &mut PgConnection) -> Result<BTreeMap<Uuid, Kept>, Error> {
    let rows = sqlx::query!(
        r#"select account_id, kept, kept_at as "kept_at: jiff_sqlx::Timestamp" from audit_heads where kept > 0"#
    )
    .fetch_all(tx)
    .instrument(span("list kept audit heads"))
    .await?;
    let kept = |number, at: Option<jiff_sqlx::Timestamp>| {
        // Versions before did not note when.
        Kept { number, at: at.map_or(Timestamp::UNIX_EPOCH, jiff_sqlx::Timestamp::to_jiff) }
    };
    Ok(rows.into_iter().map(|row| (row.account_id, kept(row.kept, row.kept_at))).collect())
}

/// What the database says of the log of an account.
pub async fn find(tx: &mut PgConnection, account: Uuid) -> Result<Log, Error> {
    let row = sqlx::query!("select number, hash from audit_heads where account_id = $1", account)
        .fetch_optional(&mut *tx)
        .instrument(span("find audit log"))
        .await?;
    // That a deletion is noted is not enough: of an account that is still there nothing was deleted. The installation never is.
    let left = sqlx::query_scalar!(
        r#"select exists (select from audit_entries where account_id = $1) as "left!"
           from account_deletions
           where account_id = $1 and not exists (select from accounts where account_id = $1)"#,
        account
    )
    .fetch_optional(tx)
    .instrument(span("look for deletion"))
    .await?;
    let deletion =
        left.filter(|_| !account.is_nil()).map(|left| if left { Deletion::UnderWay } else { Deletion::Done });
    let head =
        row.map_or(Head::START, |row| Head { number: row.number, hash: row.hash.try_into().unwrap_or_default() });
    Ok(Log { head, deletion })
}

/// The accounts with a log, or with what is left of one; the nil UUID stands for the installation.
pub async fn accounts(tx: &mut PgConnection) -> Result<Vec<Uuid>, Error> {
    let found = sqlx::query_scalar!(
        r#"select account_id as "account_id!" from audit_heads union select distinct account_id from audit_entries"#
    );
    Ok(found.fetch_all(tx).instrument(span("list audit logs")).await?)
}
