//! Messages on their way to the mailbox service.

use std::{collections::BTreeMap, time::Duration};

use diwan_proto::mailbox::v1::SendMailRequest;
use diwan_runtime::clock::after;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// Has a message sent, from the end of this transaction on.
pub async fn insert(tx: &mut Tx, account: Uuid, message: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into sends (account_id, message_id, due_at) values ($1, $2, $3)",
        account,
        message,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert send"))
    .await?;
    Ok(())
}

/// One try to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    pub account: Uuid,
    pub message: Uuid,
    /// Which try it is, from 1.
    pub attempt: i32,
}

/// Takes what is due, at most `most`. Nobody else tries it within `lease`; if we crash, somebody does after it: the mailbox
/// service sends each message id once.
pub async fn take_due(pool: &PgPool, now: Timestamp, lease: Duration, most: i64) -> Result<Vec<Try>, Error> {
    let rows = sqlx::query!(
        "select account_id, message_id from sends where due_at <= $1 order by due_at limit $2",
        now.to_sqlx() as _,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find due sends"))
    .await?;
    let mut due: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for row in rows {
        due.entry(row.account_id).or_default().push(row.message_id);
    }
    let mut taken = Vec::new();
    for (account, messages) in due {
        taken.extend(take(pool, account, &messages, now, lease).await?);
    }
    Ok(taken)
}

/// Takes those of one account that nobody else has taken meanwhile: theirs are due later.
async fn take(
    pool: &PgPool,
    account: Uuid,
    messages: &[Uuid],
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Try>, Error> {
    let rows = sqlx::query!(
        "update sends set attempts = attempts + 1, due_at = $4
         where account_id = $1 and due_at <= $3
           and message_id in (select message_id from sends
                              where account_id = $1 and message_id = any($2) and due_at <= $3 for update skip locked)
         returning message_id, attempts",
        account,
        messages,
        now.to_sqlx() as _,
        after(now, lease).to_sqlx() as _
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("take sends"))
    .await?;
    Ok(rows.into_iter().map(|row| Try { account, message: row.message_id, attempt: row.attempts }).collect())
}

/// When this try failed for now: when the next one is due.
pub async fn put_off(pool: &PgPool, send: Try, due: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update sends set due_at = $4 where account_id = $1 and message_id = $2 and attempts = $3",
        send.account,
        send.message,
        send.attempt,
        due.to_sqlx() as _
    )
    .execute(pool)
    .instrument(diwan_store::span("put send off"))
    .await?;
    Ok(())
}

/// The mailbox service has it, or will never take it.
pub async fn delete(tx: &mut Tx, send: Try) -> Result<(), Error> {
    sqlx::query!("delete from sends where account_id = $1 and message_id = $2", send.account, send.message)
        .execute(tx)
        .instrument(diwan_store::span("delete send"))
        .await?;
    Ok(())
}

/// What to send.
pub async fn mail(pool: &PgPool, send: Try) -> Result<SendMailRequest, Error> {
    let row = sqlx::query!(
        "select m.text, m.subject, m.rfc_message_id, m.rfc_references, m.automatic, c.mailbox_id, k.email, k.name
         from messages m
         join conversations c on c.account_id = m.account_id and c.id = m.conversation_id
         join contacts k on k.account_id = c.account_id and k.id = c.contact_id
         where m.account_id = $1 and m.id = $2",
        send.account,
        send.message
    )
    .fetch_one(pool)
    .instrument(diwan_store::span("read mail"))
    .await?;
    Ok(SendMailRequest {
        account_id: send.account.to_string(),
        message_id: send.message.to_string(),
        mailbox_id: row.mailbox_id.map(|id| id.to_string()).unwrap_or_default(),
        to_email: row.email,
        to_name: row.name,
        subject: row.subject,
        text: row.text,
        // The parent is the last of the chain.
        in_reply_to: row.rfc_references.last().cloned().unwrap_or_default(),
        references: row.rfc_references,
        rfc_message_id: row.rfc_message_id,
        automatic: row.automatic,
    })
}
