//! A message that comes in.

use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::Team;
use crate::{
    Error,
    domain::{
        contact::email_key,
        routing::hindrance,
        scope::Facts,
        state::{Cause, Direction, State},
    },
    store::{
        Tx, contacts,
        conversations::{self, Conversation, New},
        hours, lost_race,
        messages::{self, Attachment, Message},
        record::{Changed, Why, record},
        slots, teams,
    },
};

/// A mail as the mailbox service gives it. Its texts hold no NUL, which PostgreSQL cannot store.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub account: Uuid,
    pub message: Uuid,
    pub mailbox: Uuid,
    pub mailbox_address: String,
    pub team: Uuid,
    pub from_email: String,
    pub from_name: String,
    pub subject: String,
    pub text: String,
    pub rfc_message_id: String,
    /// In-Reply-To and References.
    pub nearest_first: Vec<String>,
    pub attachments: Vec<Attachment>,
    pub received_at: Timestamp,
    pub broken: bool,
}

/// Stores a message once. Returns its conversation and, where one waits now, its team.
///
/// The message's primary key makes it once: of two deliveries at the same time one waits for the other, starts over, and finds it.
pub async fn ingest(tx: &mut Tx, mail: &Incoming, now: Timestamp) -> Result<(Uuid, Option<Team>), Error> {
    if let Some(known) = messages::conversation_of(tx, mail.account, mail.message).await? {
        return Ok((known, None));
    }
    let key = email_key(&mail.from_email);
    let thread = messages::thread(tx, mail.account, mail.mailbox, &mail.nearest_first, key.as_deref()).await?;
    match thread {
        Some(id) => continued(tx, mail, id, now).await,
        None => new(tx, mail, key.as_deref(), now).await,
    }
}

async fn new(tx: &mut Tx, mail: &Incoming, key: Option<&str>, now: Timestamp) -> Result<(Uuid, Option<Team>), Error> {
    let sender = (mail.from_name.as_str(), mail.from_email.as_str(), key);
    let contact = contacts::ensure(tx, mail.account, ids::new_id(), sender, now).await?;
    let conversation = New {
        id: ids::new_id(),
        // The mailbox's, though it may not be known here yet: whoever belongs to it is told when it is.
        team: mail.team,
        contact,
        subject: &mail.subject,
        mailbox: mail.mailbox,
        mailbox_address: &mail.mailbox_address,
        created_at: mail.received_at,
    };
    conversations::insert(tx, mail.account, &conversation, now).await?;
    store(tx, mail, conversation.id).await?;
    let changed = Changed::from(conversation.id, None);
    record(tx, mail.account, Why::of(Cause::Arrival), &[changed], now).await?;
    Ok((conversation.id, Some((mail.account, mail.team))))
}

async fn continued(tx: &mut Tx, mail: &Incoming, id: Uuid, now: Timestamp) -> Result<(Uuid, Option<Team>), Error> {
    let account = mail.account;
    let found = conversations::load(tx, account, &[id]).await?.pop().ok_or(Error::NotFound)?;
    let before = found.facts()?;
    let (cause, waits) = match before.state {
        State::Closed => (Cause::Reopened, reopen(tx, account, &found, before, now).await?),
        _ => (Cause::Message, false),
    };
    // A reopened one has the next version, and is ours until the transaction ends.
    let version = found.version + i64::from(cause == Cause::Reopened);
    if !conversations::touch(tx, account, id, version, mail.received_at).await? {
        return Err(lost_race(tx).await);
    }
    store(tx, mail, id).await?;
    record(tx, account, Why::of(cause), &[Changed::from(id, Some(before))], now).await?;
    Ok((id, waits.then_some((account, before.team))))
}

/// Gives a closed conversation back to whoever held it last, if the routing could give him one now, else puts it into its team's
/// queue. Returns whether it waits there.
async fn reopen(
    tx: &mut Tx,
    account: Uuid,
    closed: &Conversation,
    before: Facts,
    now: Timestamp,
) -> Result<bool, Error> {
    let Facts { team, holder, .. } = before;
    if let Some(holder) = holder {
        slots::lock(tx, account, team, holder).await?;
        let limit = teams::limit(tx, account, team).await?;
        // Looked at under his slot's lock, so it stays true until the commit.
        let eligible = hours::is_open(tx, account, team, now).await?
            && slots::agents(tx, account, team, Some(holder)).await?.iter().any(|a| hindrance(limit, a).is_none());
        if eligible {
            if !conversations::hold(tx, account, closed.id, closed.version, holder, now).await? {
                return Err(lost_race(tx).await);
            }
            slots::add_open(tx, account, team, holder, 1).await?;
            return Ok(false);
        }
    }
    if !conversations::queue(tx, account, closed.id, closed.version, now).await? {
        return Err(lost_race(tx).await);
    }
    Ok(true)
}

async fn store(tx: &mut Tx, mail: &Incoming, conversation: Uuid) -> Result<(), Error> {
    let message = Message {
        id: mail.message,
        conversation_id: conversation,
        direction: Direction::In.name().to_owned(),
        author_id: None,
        text: mail.text.clone(),
        subject: mail.subject.clone(),
        rfc_message_id: mail.rfc_message_id.clone(),
        rfc_references: mail.nearest_first.iter().rev().cloned().collect(),
        attachments: Json(mail.attachments.clone()),
        delivery: None,
        delivery_error: String::new(),
        broken: mail.broken,
        created_at: mail.received_at.to_sqlx(),
    };
    if messages::insert(tx, mail.account, &message).await? { Ok(()) } else { Err(lost_race(tx).await) }
}
