//! Mail to send, and what became of it.
//!
//! A mail is tried by one replica at a time and never again once it may have left: PENDING becomes SENDING in a committed
//! statement that only one can win, before the first byte goes out; from there only the holder of that very attempt
//! (or, after its lease, UNKNOWN) leads on.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// A mail as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewOutgoing {
    pub(crate) account_id: Uuid,
    pub(crate) message_id: Uuid,
    pub(crate) mailbox_id: Uuid,
    pub(crate) to_email: String,
    pub(crate) to_name: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) in_reply_to: String,
    pub(crate) thread: Vec<String>,
    pub(crate) rfc_message_id: String,
    pub(crate) automatic: bool,
}

/// Stores a mail to send, once for each message id.
pub(crate) async fn insert(tx: &mut PgConnection, mail: &NewOutgoing, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into outgoing (account_id, message_id, mailbox_id, to_email, to_name, subject, body, in_reply_to,
             thread, rfc_message_id, automatic, state, due_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'PENDING', $12, $12)
         on conflict (account_id, message_id) do nothing",
        mail.account_id,
        mail.message_id,
        mail.mailbox_id,
        mail.to_email,
        mail.to_name,
        mail.subject,
        mail.body,
        mail.in_reply_to,
        &mail.thread,
        mail.rfc_message_id,
        mail.automatic,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert outgoing"))
    .await?;
    Ok(())
}

/// One attempt at a mail.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) message_id: Uuid,
    pub(crate) to_email: String,
    pub(crate) to_name: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) in_reply_to: String,
    pub(crate) thread: Vec<String>,
    pub(crate) rfc_message_id: String,
    pub(crate) automatic: bool,
    pub(crate) attempts: i32,
    pub(crate) created_at: jiff_sqlx::Timestamp,
}

/// Begins an attempt at the next mail that is due.
pub(crate) async fn begin(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
    now: Timestamp,
) -> Result<Option<Attempt>, Error> {
    let begun = sqlx::query_as!(
        Attempt,
        "update outgoing set state = 'SENDING', attempts = attempts + 1
         where account_id = $1 and state = 'PENDING'
         and not exists (select 1 from closed_accounts where account_id = $1) and message_id =
             (select message_id from outgoing where account_id = $1 and mailbox_id = $2 and state = 'PENDING'
              and due_at <= $3 order by due_at, message_id limit 1 for update skip locked)
         returning message_id, to_email, to_name, subject, body, in_reply_to, thread, rfc_message_id, automatic, attempts,
             created_at",
        account,
        mailbox,
        now.to_sqlx() as _,
    );
    Ok(begun.fetch_optional(tx).instrument(span("begin attempt")).await?)
}

/// When the next mail is due.
pub(crate) async fn next_due(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
) -> Result<Option<Timestamp>, Error> {
    let due = sqlx::query_scalar!(
        "select min(due_at) from outgoing where account_id = $1 and mailbox_id = $2 and state = 'PENDING'",
        account,
        mailbox,
    );
    let due: Option<jiff_sqlx::Timestamp> = due.fetch_one(tx).instrument(span("next due")).await?;
    Ok(due.map(jiff_sqlx::Timestamp::to_jiff))
}

/// Puts off a mail that surely did not leave.
pub(crate) async fn put_off(
    tx: &mut PgConnection,
    account: Uuid,
    attempt: &Attempt,
    due: Timestamp,
    error: &str,
) -> Result<(), Error> {
    let put_off = sqlx::query!(
        "update outgoing set state = 'PENDING', due_at = $4, error = $5
         where account_id = $1 and message_id = $2 and attempts = $3 and state = 'SENDING'",
        account,
        attempt.message_id,
        attempt.attempts,
        due.to_sqlx() as _,
        error,
    );
    put_off.execute(tx).instrument(span("put mail off")).await?;
    Ok(())
}

/// Notes how an attempt ended. It knows better than whoever gave it up for lost meanwhile.
pub(crate) async fn end(
    tx: &mut PgConnection,
    account: Uuid,
    attempt: &Attempt,
    state: &str,
    error: &str,
) -> Result<(), Error> {
    let ended = sqlx::query!(
        "update outgoing set state = $4, error = $5, reported = false
         where account_id = $1 and message_id = $2 and attempts = $3 and state in ('SENDING', 'UNKNOWN')",
        account,
        attempt.message_id,
        attempt.attempts,
        state,
        error,
    );
    ended.execute(tx).instrument(span("end attempt")).await?;
    Ok(())
}

/// Calls the attempts of an earlier owner of the mailbox lost; says how many there were.
pub(crate) async fn give_up_lost(tx: &mut PgConnection, (account, mailbox): (Uuid, Uuid)) -> Result<u64, Error> {
    let lost = sqlx::query!(
        "update outgoing set state = 'UNKNOWN', error = 'the process ended while it was sending'
         where account_id = $1 and mailbox_id = $2 and state = 'SENDING'",
        account,
        mailbox,
    );
    Ok(lost.execute(tx).instrument(span("give up lost attempts")).await?.rows_affected())
}

/// A mail whose fate conversation does not know yet.
#[derive(Clone, Debug)]
pub(crate) struct Unreported {
    pub(crate) message_id: Uuid,
    pub(crate) rfc_message_id: String,
    pub(crate) state: String,
    pub(crate) error: String,
}

/// Such mails.
pub(crate) async fn unreported(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
) -> Result<Vec<Unreported>, Error> {
    let found = sqlx::query_as!(
        Unreported,
        "select message_id, rfc_message_id, state, error from outgoing where account_id = $1 and mailbox_id = $2
         and state in ('SENT', 'FAILED', 'UNKNOWN') and not reported order by message_id limit 100",
        account,
        mailbox,
    );
    Ok(found.fetch_all(tx).instrument(span("unreported mail")).await?)
}

/// Notes that a mail of unknown fate was found among the sent.
pub(crate) async fn found_sent(tx: &mut PgConnection, account: Uuid, message: Uuid) -> Result<(), Error> {
    let found = sqlx::query!(
        "update outgoing set state = 'SENT', error = '' where account_id = $1 and message_id = $2 and state = 'UNKNOWN'",
        account,
        message,
    );
    found.execute(tx).instrument(span("found sent")).await?;
    Ok(())
}

/// Notes that conversation knows `state`, unless it has changed meanwhile.
pub(crate) async fn reported(tx: &mut PgConnection, account: Uuid, message: Uuid, state: &str) -> Result<(), Error> {
    let noted = sqlx::query!(
        "update outgoing set reported = true where account_id = $1 and message_id = $2 and state = $3",
        account,
        message,
        state,
    );
    noted.execute(tx).instrument(span("note reported")).await?;
    Ok(())
}
