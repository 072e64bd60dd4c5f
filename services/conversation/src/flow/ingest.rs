//! A message that comes in.

use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Team, automatic_reply, bot_talk,
    give_back::{self, Offer},
    route::{self, Arrival},
};
use crate::{
    Error,
    domain::{
        contact::email_key,
        scope::Facts,
        state::{Cause, Direction, State},
    },
    store::{
        Tx, arrivals, bots, contacts,
        conversations::{self, New, Writer},
        handling, lost_race,
        messages::{self, Attachment, Message},
        record::{Changed, Why, record, record_known},
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
    /// Of the mailbox.
    pub team: Option<Uuid>,
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
    /// A machine or a mailing list sent it (RFC 3834).
    pub automatic: bool,
    /// ISO 3166-1 alpha-2, where it is known.
    pub country: Option<String>,
    /// What it is about, as far as the channel has asked.
    pub topics: Vec<Uuid>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ingested {
    /// Its conversation.
    pub conversation: Uuid,
    /// The team in whose queue it waits now, if it does.
    pub waits: Option<Team>,
    /// Whether a bot has heard it: it may have answered, and its time runs.
    pub heard_by_bot: bool,
    /// Whether its team has replied by itself.
    pub replied: bool,
}

/// Stores a message once.
///
/// The message's primary key makes it once: of two deliveries at the same time one waits for the other, starts over, and finds it.
pub async fn ingest(tx: &mut Tx, mail: &Incoming, now: Timestamp) -> Result<Ingested, Error> {
    let known = arrivals::known(tx, mail.account, mail.message).await?;
    if let Some(conversation) = known.conversation {
        return Ok(Ingested { conversation, ..Ingested::default() });
    }
    let key = email_key(&mail.from_email);
    let thread = messages::thread(tx, mail.account, mail.mailbox, &mail.nearest_first, key.as_deref()).await?;
    let ingested = match thread {
        Some(id) => continued(tx, mail, id, now).await?,
        None => new(tx, mail, (key.as_deref(), known.has_rules), now).await?,
    };
    let replied = known.has_replies && automatic_reply::reply(tx, mail, ingested.conversation, now).await?;
    Ok(Ingested { replied, ..ingested })
}

async fn new(
    tx: &mut Tx,
    mail: &Incoming,
    (key, has_rules): (Option<&str>, bool),
    now: Timestamp,
) -> Result<Ingested, Error> {
    let account = mail.account;
    let sender = (mail.from_name.as_str(), mail.from_email.as_str(), key, mail.country.as_deref());
    let (contact, is_new) = contacts::ensure(tx, account, ids::new_id(), sender, now).await?;
    let arrival = arrival(mail, contact);
    let routed = match arrival.own {
        Some(own) if !has_rules => route::direct(tx, account, (own, arrival.topics)).await?,
        _ => route::route(tx, account, arrival).await?,
    };
    let team = routed.team;
    // What nobody reads, or a machine has written, no bot answers (RFC 3834 section 2).
    let asked = routed.bot.filter(|_| key.is_some() && !mail.automatic);
    let bot = bot_talk::starting(tx, account, (asked, contact), now).await?;
    let conversation = New {
        id: ids::new_id(),
        // The mailbox's, though it may not be known here yet: whoever belongs to it is told when it is.
        team,
        contact,
        subject: &mail.subject,
        mailbox: mail.mailbox,
        mailbox_address: &mail.mailbox_address,
        priority: routed.priority.unwrap_or_default(),
        topics: &routed.topics,
        bot: bot.as_ref().map(|bot| bot.id),
        created_at: mail.received_at,
        wants_answer: !mail.automatic,
    };
    // Before the conversation is there: the lock order. What is with a bot is offered when it leaves it.
    let sticky = match bot {
        None if !is_new => sticky_owner(tx, account, (team, conversation.id, contact), now).await?,
        _ => None,
    };
    let decision = sticky.map(|offer| offer.decision);
    let made = conversations::insert(tx, account, &conversation, now).await?;
    route::keep(tx, account, (conversation.id, 1), &routed, now).await?;
    store(tx, mail, conversation.id).await?;
    let arrival = Why { decision, ..Why::of(Cause::Arrival) };
    let changed = [Changed::from(conversation.id, None)];
    let arrived = record_known(tx, account, arrival, (&changed, vec![made]), now).await?;
    if let (Some(bot), Some(arrived)) = (&bot, arrived.into_iter().next()) {
        let text = format!("{}\n{}", mail.subject, mail.text);
        let waits = bot_talk::start(tx, account, (arrived, bot), &text, now).await?;
        return Ok(Ingested { conversation: conversation.id, waits, heard_by_bot: true, replied: false });
    }
    let Some(offer) = sticky.filter(|offer| offer.accepted) else {
        return Ok(Ingested { conversation: conversation.id, waits: Some((account, team)), ..Ingested::default() });
    };
    give_back::hand(tx, account, (conversation.id, 1), (team, offer.agent), now).await?;
    let before = Some(Facts { state: State::Queued, team, holder: None });
    let why = Why { decision, ..Why::of(Cause::StickyOwner) };
    record(tx, account, why, &[Changed::from(conversation.id, before)], now).await?;
    Ok(Ingested { conversation: conversation.id, ..Ingested::default() })
}

fn arrival(mail: &Incoming, contact: Uuid) -> Arrival<'_> {
    Arrival {
        contact,
        mailbox: Some(mail.mailbox),
        subject: &mail.subject,
        text: &mail.text,
        topics: &mail.topics,
        own: mail.team,
    }
}

/// Offers the new conversation of a customer who is back to the agent whom he had last, where the team wants that.
pub async fn sticky_owner(
    tx: &mut Tx,
    account: Uuid,
    (team, conversation, contact): (Uuid, Uuid, Uuid),
    now: Timestamp,
) -> Result<Option<Offer>, Error> {
    if !teams::find(tx, account, team).await?.is_some_and(|team| team.sticky_owner) {
        return Ok(None);
    }
    match handling::last_agent(tx, account, contact).await? {
        Some(agent) => give_back::offer(tx, account, team, (conversation, agent), now).await.map(Some),
        None => Ok(None),
    }
}

/// A closed conversation reopens and one that is put off wakes: to whoever had it, if the routing could give him one now.
async fn continued(tx: &mut Tx, mail: &Incoming, id: Uuid, now: Timestamp) -> Result<Ingested, Error> {
    let account = mail.account;
    let found = conversations::load(tx, account, &[id]).await?.pop().ok_or(Error::NotFound)?;
    let before = found.facts()?;
    let cause = match before.state {
        State::Closed => Cause::Reopened,
        State::Snoozed => Cause::Woken,
        _ => Cause::Message,
    };
    // Before the conversation is locked: the lock order.
    let bot = match found.bot_id.filter(|_| before.state == State::Bot && !mail.automatic) {
        Some(bot) => bots::share(tx, account, bot).await?,
        None => None,
    };
    if bot.is_some()
        && let Some(agent) = handling::last_agent(tx, account, found.contact_id).await?
    {
        // What the customer says may lead the bot to let him go: to the agent whom he had last.
        slots::lock_of_user(tx, account, agent).await?;
    }
    let given = match cause {
        Cause::Message => None,
        _ => Some(give_back::give_back(tx, account, &found, before, now).await?),
    };
    // What was given back has the next version, and is ours until the transaction ends.
    let version = found.version + i64::from(given.is_some());
    let writer = if mail.automatic { Writer::Nobody } else { Writer::Customer(now) };
    if !conversations::touch(tx, account, (id, version), writer, mail.received_at).await? {
        return Err(lost_race(tx).await);
    }
    store(tx, mail, id).await?;
    let why = Why { decision: given.and_then(|given| given.decision), ..Why::of(cause) };
    let after = record(tx, account, why, &[Changed::from(id, Some(before))], now).await?;
    if let (Some(bot), Some(after)) = (&bot, after.into_iter().next()) {
        let waits = bot_talk::heard(tx, account, (after, bot), &mail.text, now).await?;
        return Ok(Ingested { conversation: id, waits, heard_by_bot: true, replied: false });
    }
    let waits = given.filter(|given| given.waits).map(|given| (account, given.team));
    Ok(Ingested { conversation: id, waits, ..Ingested::default() })
}

async fn store(tx: &mut Tx, mail: &Incoming, conversation: Uuid) -> Result<(), Error> {
    let message = Message {
        id: mail.message,
        conversation_id: conversation,
        direction: Direction::In.name().to_owned(),
        author_id: None,
        bot_id: None,
        text: mail.text.clone(),
        subject: mail.subject.clone(),
        rfc_message_id: mail.rfc_message_id.clone(),
        rfc_references: mail.nearest_first.iter().rev().cloned().collect(),
        attachments: Json(mail.attachments.clone()),
        delivery: None,
        delivery_error: String::new(),
        broken: mail.broken,
        automatic: mail.automatic,
        created_at: mail.received_at.to_sqlx(),
    };
    if messages::insert(tx, mail.account, &message).await? { Ok(()) } else { Err(lost_race(tx).await) }
}
