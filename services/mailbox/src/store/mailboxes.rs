//! Mailboxes and how far each is synced.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// A mailbox as stored; passwords are sealed.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) account_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) address: String,
    pub(crate) display_name: String,
    pub(crate) team_id: Uuid,
    pub(crate) imap_host: String,
    pub(crate) imap_port: i32,
    pub(crate) imap_security: String,
    pub(crate) imap_user: String,
    pub(crate) imap_secret: Vec<u8>,
    pub(crate) smtp_host: String,
    pub(crate) smtp_port: i32,
    pub(crate) smtp_security: String,
    pub(crate) smtp_user: String,
    pub(crate) smtp_secret: Vec<u8>,
    pub(crate) state: String,
    pub(crate) error: String,
    pub(crate) synced_at: Option<jiff_sqlx::Timestamp>,
    pub(crate) uid_validity: i64,
    pub(crate) cursor_uid: i64,
    pub(crate) history_below: i64,
    pub(crate) messages: i64,
    pub(crate) quarantined: i64,
    pub(crate) created_at: jiff_sqlx::Timestamp,
}

/// The unique index of addresses.
pub(crate) const ADDRESS_INDEX: &str = "mailboxes_address";

/// Stores a new mailbox.
pub(crate) async fn insert(tx: &mut PgConnection, mailbox: &Mailbox) -> Result<(), Error> {
    sqlx::query!(
        "insert into mailboxes (account_id, id, address, display_name, team_id, imap_host, imap_port, imap_security,
             imap_user, imap_secret, smtp_host, smtp_port, smtp_security, smtp_user, smtp_secret, state, uid_validity,
             cursor_uid, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        mailbox.account_id,
        mailbox.id,
        mailbox.address,
        mailbox.display_name,
        mailbox.team_id,
        mailbox.imap_host,
        mailbox.imap_port,
        mailbox.imap_security,
        mailbox.imap_user,
        mailbox.imap_secret,
        mailbox.smtp_host,
        mailbox.smtp_port,
        mailbox.smtp_security,
        mailbox.smtp_user,
        mailbox.smtp_secret,
        mailbox.state,
        mailbox.uid_validity,
        mailbox.cursor_uid,
        mailbox.created_at as _,
    )
    .execute(tx)
    .instrument(span("insert mailbox"))
    .await?;
    Ok(())
}

/// Whether a mailbox of the account has this address.
pub(crate) async fn is_taken(tx: &mut PgConnection, account: Uuid, address: &str) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from mailboxes where account_id = $1 and lower(address) = lower($2)) as "taken!""#,
        account,
        address,
    );
    Ok(found.fetch_one(tx).instrument(span("look for address")).await?)
}

/// One mailbox.
pub(crate) async fn find(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<Mailbox>, Error> {
    let found = sqlx::query_as!(Mailbox, "select * from mailboxes where account_id = $1 and id = $2", account, id);
    Ok(found.fetch_optional(tx).instrument(span("find mailbox")).await?)
}

/// The mailboxes of an account after one of them, by the time they were connected.
pub(crate) async fn list(
    tx: &mut PgConnection,
    account: Uuid,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Mailbox>, Error> {
    let (time, id) = after.unzip();
    let time = time.map(jiff_sqlx::ToSqlx::to_sqlx);
    let found = sqlx::query_as!(
        Mailbox,
        "select * from mailboxes where account_id = $1
         and ($2::timestamptz is null or (created_at, id) > ($2, $3)) order by created_at, id limit $4",
        account,
        time as _,
        id,
        limit,
    );
    Ok(found.fetch_all(tx).instrument(span("list mailboxes")).await?)
}

/// Starts over: INBOX has been numbered anew, so what the cursor said means nothing now. Whether it was still as `old`.
pub(crate) async fn restart(
    tx: &mut PgConnection,
    (account, id): (Uuid, Uuid),
    old: i64,
    new: i64,
    history_below: i64,
) -> Result<bool, Error> {
    let changed = sqlx::query!(
        "update mailboxes set uid_validity = $4, cursor_uid = 0, history_below = $5
         where account_id = $1 and id = $2 and uid_validity = $3",
        account,
        id,
        old,
        new,
        history_below,
    );
    Ok(changed.execute(tx).instrument(span("restart mailbox")).await?.rows_affected() == 1)
}

/// A step of the cursor: from where, to where, and what it brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) uid_validity: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) messages: i64,
    pub(crate) quarantined: i64,
}

/// Moves the cursor. False, and nothing is moved, when it is not where the step begins: somebody else has moved it.
pub(crate) async fn advance(tx: &mut PgConnection, (account, id): (Uuid, Uuid), step: Step) -> Result<bool, Error> {
    let moved = sqlx::query!(
        "update mailboxes set cursor_uid = $5, messages = messages + $6, quarantined = quarantined + $7
         where account_id = $1 and id = $2 and uid_validity = $3 and cursor_uid = $4",
        account,
        id,
        step.uid_validity,
        step.from,
        step.to,
        step.messages,
        step.quarantined,
    );
    Ok(moved.execute(tx).instrument(span("advance cursor")).await?.rows_affected() == 1)
}

/// Notes that the mailbox is in sync: when its credentials are refused after that, its people are told again.
pub(crate) async fn synced(tx: &mut PgConnection, (account, id): (Uuid, Uuid), now: Timestamp) -> Result<(), Error> {
    let noted = sqlx::query!(
        "with over as (delete from credential_alerts where account_id = $1 and mailbox_id = $2)
         update mailboxes set state = 'SYNCED', error = '', synced_at = $3 where account_id = $1 and id = $2",
        account,
        id,
        now.to_sqlx() as _,
    );
    noted.execute(tx).instrument(span("note synced")).await?;
    Ok(())
}

/// Notes why the mailbox is not in sync.
pub(crate) async fn failing(
    tx: &mut PgConnection,
    (account, id): (Uuid, Uuid),
    state: &str,
    error: &str,
) -> Result<(), Error> {
    let noted = sqlx::query!(
        "update mailboxes set state = $3, error = $4 where account_id = $1 and id = $2",
        account,
        id,
        state,
        error,
    );
    noted.execute(tx).instrument(span("note failing")).await?;
    Ok(())
}
