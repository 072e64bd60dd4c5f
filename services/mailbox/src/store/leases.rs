//! Which replica works on which mailbox.
//!
//! At most one replica believes to own a mailbox while the clocks agree: a lease changes hands only after it expired, in
//! one statement under the row's lock. Where clocks do not agree, the conditions of each change to the mailbox's own rows
//! (cursor, unique index, state of a mail to send) still keep anything from being done twice.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// A mailbox that this replica owns from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    pub(crate) account_id: Uuid,
    pub(crate) mailbox_id: Uuid,
}

/// Offers a new mailbox.
pub(crate) async fn offer(tx: &mut PgConnection, account: Uuid, mailbox: Uuid, now: Timestamp) -> Result<(), Error> {
    let offered = sqlx::query!(
        "insert into leases (mailbox_id, account_id, expires_at) values ($1, $2, $3)",
        mailbox,
        account,
        now.to_sqlx() as _,
    );
    offered.execute(tx).instrument(span("offer mailbox")).await?;
    Ok(())
}

/// Takes up to `limit` mailboxes that nobody keeps. One that was connected while its account was closed is nobody's for ever.
pub(crate) async fn claim(
    tx: &mut PgConnection,
    owner: Uuid,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Claimed>, Error> {
    let claimed = sqlx::query_as!(
        Claimed,
        "update leases set owner = $1, expires_at = $3 where mailbox_id in
             (select mailbox_id from leases l where expires_at <= $2
              and not exists (select 1 from closed_accounts c where c.account_id = l.account_id)
              order by expires_at limit $4 for update skip locked)
         returning account_id, mailbox_id",
        owner,
        now.to_sqlx() as _,
        until.to_sqlx() as _,
        limit,
    );
    Ok(claimed.fetch_all(tx).instrument(span("claim mailboxes")).await?)
}

/// Keeps the mailboxes of `owner` until then, and says which they still are.
pub(crate) async fn keep(tx: &mut PgConnection, owner: Uuid, until: Timestamp) -> Result<Vec<Uuid>, Error> {
    let kept = sqlx::query_scalar!(
        "update leases set expires_at = $2 where owner = $1 returning mailbox_id",
        owner,
        until.to_sqlx() as _,
    );
    Ok(kept.fetch_all(tx).instrument(span("keep mailboxes")).await?)
}

/// Gives a mailbox back.
pub(crate) async fn release(tx: &mut PgConnection, owner: Uuid, mailbox: Uuid, now: Timestamp) -> Result<(), Error> {
    let released = sqlx::query!(
        "update leases set owner = null, expires_at = $3 where mailbox_id = $2 and owner = $1",
        owner,
        mailbox,
        now.to_sqlx() as _,
    );
    released.execute(tx).instrument(span("release mailbox")).await?;
    Ok(())
}

/// Notes that a mailbox has something to send.
pub(crate) async fn want_sending(tx: &mut PgConnection, mailbox: Uuid) -> Result<(), Error> {
    let noted = sqlx::query!("update leases set send_wanted = true where mailbox_id = $1", mailbox);
    noted.execute(tx).instrument(span("want sending")).await?;
    Ok(())
}

/// The mailboxes of `owner` that have something to send, each told once.
pub(crate) async fn take_wanted(tx: &mut PgConnection, owner: Uuid) -> Result<Vec<Uuid>, Error> {
    let wanted = sqlx::query_scalar!(
        "update leases set send_wanted = false where owner = $1 and send_wanted returning mailbox_id",
        owner,
    );
    Ok(wanted.fetch_all(tx).instrument(span("take wanted")).await?)
}
