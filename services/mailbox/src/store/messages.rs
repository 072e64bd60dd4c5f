//! Mail that came in.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

/// A file within a mail, whose content is in the blob store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) size: i64,
    pub(crate) sha256: String,
}

/// A mail to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewMessage {
    pub(crate) id: Uuid,
    pub(crate) uid_validity: i64,
    pub(crate) uid: i64,
    pub(crate) sha256: Option<String>,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) size: i64,
    pub(crate) received_at: Timestamp,
    pub(crate) state: &'static str,
    pub(crate) from_email: String,
    pub(crate) from_name: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) rfc_message_id: String,
    pub(crate) thread: Vec<String>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) automatic: bool,
    pub(crate) broken: bool,
    pub(crate) quarantine: String,
}

/// Whether the mail is stored already under an earlier UIDVALIDITY; its row then carries the new numbers.
pub(crate) async fn renumber(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
    message: &NewMessage,
) -> Result<bool, Error> {
    let moved = sqlx::query!(
        "update messages set uid_validity = $4, uid = $5 where account_id = $1 and id =
             (select id from messages where account_id = $1 and mailbox_id = $2 and fingerprint = $3
              and uid_validity <> $4 order by id limit 1)",
        account,
        mailbox,
        message.fingerprint,
        message.uid_validity,
        message.uid,
    );
    Ok(moved.execute(tx).instrument(span("renumber message")).await?.rows_affected() == 1)
}

/// Stores a mail.
pub(crate) async fn insert(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
    message: &NewMessage,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into messages (account_id, id, mailbox_id, uid_validity, uid, sha256, fingerprint, size, received_at,
             state, from_email, from_name, subject, body, rfc_message_id, thread, attachments, automatic, broken,
             quarantine, stored_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        account,
        message.id,
        mailbox,
        message.uid_validity,
        message.uid,
        message.sha256,
        message.fingerprint,
        message.size,
        message.received_at.to_sqlx() as _,
        message.state,
        message.from_email,
        message.from_name,
        message.subject,
        message.body,
        message.rfc_message_id,
        &message.thread,
        Json(&message.attachments) as _,
        message.automatic,
        message.broken,
        message.quarantine,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert message"))
    .await?;
    Ok(())
}

/// A stored mail that conversation does not have yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: Uuid,
    pub(crate) received_at: jiff_sqlx::Timestamp,
    pub(crate) from_email: String,
    pub(crate) from_name: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) rfc_message_id: String,
    pub(crate) thread: Vec<String>,
    pub(crate) attachments: Json<Vec<Attachment>>,
    pub(crate) broken: bool,
    pub(crate) automatic: bool,
}

/// The oldest such mail of a mailbox.
pub(crate) async fn next_pending(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
) -> Result<Option<Pending>, Error> {
    let found = sqlx::query_as!(
        Pending,
        r#"select id, received_at, from_email, from_name, subject, body, rfc_message_id, thread,
               attachments as "attachments: Json<Vec<Attachment>>", broken, automatic
           from messages where account_id = $1 and mailbox_id = $2 and state = 'PENDING' order by id limit 1"#,
        account,
        mailbox,
    );
    Ok(found.fetch_optional(tx).instrument(span("next message to ingest")).await?)
}

/// Notes what conversation made of it.
pub(crate) async fn settle(tx: &mut PgConnection, account: Uuid, id: Uuid, state: &str) -> Result<(), Error> {
    let settled = sqlx::query!(
        "update messages set state = $3 where account_id = $1 and id = $2 and state = 'PENDING'",
        account,
        id,
        state,
    );
    settled.execute(tx).instrument(span("settle message")).await?;
    Ok(())
}
