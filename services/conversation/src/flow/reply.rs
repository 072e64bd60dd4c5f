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
        conversations::{self, Conversation, Writer},
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
    let (message, _) = say(tx, account, &found, Author::User(caller.user_id), text, now).await?;
    Ok(message)
}

/// Who writes to a customer.
#[derive(Clone, Copy, Debug)]
pub enum Author {
    /// A person.
    User(Uuid),
    /// A bot.
    Bot(Uuid),
    /// The team, by its automatic reply.
    Team,
}

impl Author {
    /// The ids of the user and of the bot.
    pub fn ids(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::User(user) => (Some(user), None),
            Self::Bot(bot) => (None, Some(bot)),
            Self::Team => (None, None),
        }
    }
}

/// Stores what is said to the customer of a conversation that has this version, and has it sent. Returns the conversation after it.
pub async fn say(
    tx: &mut Tx,
    account: Uuid,
    found: &Conversation,
    author: Author,
    text: &str,
    now: Timestamp,
) -> Result<(Message, Conversation), Error> {
    let writer = match author {
        Author::User(_) => Writer::Person,
        Author::Bot(_) | Author::Team => Writer::Nobody,
    };
    if !conversations::touch(tx, account, (found.id, found.version), writer, now).await? {
        return Err(lost_race(tx).await);
    }
    let parent = messages::parent(tx, account, found.id).await?;
    let message = outgoing(found, author, text, &parent, now);
    messages::insert(tx, account, &message).await?;
    sends::insert(tx, account, message.id, now).await?;
    let why = match author {
        Author::User(user) => Why::by(Cause::Message, user),
        Author::Bot(_) | Author::Team => Why::of(Cause::Message),
    };
    let after = record(tx, account, why, &[Changed::from(found.id, Some(found.facts()?))], now).await?;
    Ok((message, after.into_iter().next().ok_or(Error::NotFound)?))
}

fn outgoing(to: &Conversation, author: Author, text: &str, parent: &thread::Parent, now: Timestamp) -> Message {
    let id = ids::new_id();
    let (user, bot) = author.ids();
    Message {
        id,
        conversation_id: to.id,
        direction: Direction::Out.name().to_owned(),
        author_id: user,
        bot_id: bot,
        text: text.to_owned(),
        subject: thread::subject(&to.subject),
        rfc_message_id: thread::message_id(id, &to.mailbox_address),
        rfc_references: thread::references(parent),
        attachments: Json(Vec::new()),
        delivery: Some(Delivery::Pending.name().to_owned()),
        delivery_error: String::new(),
        broken: false,
        automatic: user.is_none(),
        created_at: now.to_sqlx(),
    }
}
