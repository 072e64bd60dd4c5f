//! Answering the customer.

use diwan_access::User;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Error,
    domain::{
        scope::Scope,
        state::{Cause, Delivery, Direction, State},
        thread,
    },
    store::{
        Tx,
        conversations::{self, Conversation},
        lost_race,
        messages::{self, Message},
        record::{Changed, Why, record},
        sends,
    },
};

/// Stores the holder's answer and has it sent: the message and the order to send it exist together or not at all.
pub async fn reply(
    tx: &mut Tx,
    caller: &User,
    scope: &Scope,
    id: Uuid,
    text: &str,
    now: Timestamp,
) -> Result<Message, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    // What is put off keeps its holder: he may answer, and it stays put off.
    if !matches!(before.state, State::Open | State::Snoozed) || before.holder != Some(caller.user_id) {
        return Err(Error::NotHolder);
    }
    if found.contact_email.is_empty() {
        return Err(Error::NoAddress);
    }
    // Holding is checked by the version: whoever lost it meanwhile starts over and is told so.
    if !conversations::touch(tx, account, id, found.version, now).await? {
        return Err(lost_race(tx).await);
    }
    let parent = messages::parent(tx, account, id).await?;
    let message = outgoing(&found, caller.user_id, text, &parent, now);
    messages::insert(tx, account, &message).await?;
    sends::insert(tx, account, message.id, now).await?;
    let why = Why::by(Cause::Message, caller.user_id);
    record(tx, account, why, &[Changed::from(id, Some(before))], now).await?;
    Ok(message)
}

fn outgoing(to: &Conversation, author: Uuid, text: &str, parent: &thread::Parent, now: Timestamp) -> Message {
    let id = ids::new_id();
    Message {
        id,
        conversation_id: to.id,
        direction: Direction::Out.name().to_owned(),
        author_id: Some(author),
        text: text.to_owned(),
        subject: thread::subject(&to.subject),
        rfc_message_id: thread::message_id(id, &to.mailbox_address),
        rfc_references: thread::references(parent),
        attachments: Json(Vec::new()),
        delivery: Some(Delivery::Pending.name().to_owned()),
        delivery_error: String::new(),
        broken: false,
        created_at: now.to_sqlx(),
    }
}
