//! A conversation with a bot: it starts, the customer writes, the menu asks, time passes, and it goes to a team's queue.
//!
//! Every step changes the conversation under its version: of a customer's message, a bot's answer, somebody who takes it and the end of
//! its time that come at once, one goes first, and the others look again at what it left. The bot's row is shared before: it is not
//! disabled between the look at it and the commit.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    Team, give_back,
    ingest::sticky_owner,
    notes,
    reply::{self, Author},
    route::{self, Arrival},
};
use crate::{
    Error,
    domain::{
        menu::{MOST_QUESTIONS, Step},
        scope::Facts,
        state::{Cause, State},
        text::language,
        turns::{Claim, Turns},
    },
    store::{
        Tx, archive,
        bot_turns::{self, Leaving},
        bots::{self, Bot},
        conversations::{self, Conversation},
        history, lost_race, messages,
        record::{Changed, Why, record},
    },
};

/// After so many conversations of a contact with bots within an hour, the next one waits for a person: a machine that does not say
/// that it is one must not talk with a machine for ever.
const MOST_STARTS: i16 = 5;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The bot that a contact's new conversation starts with, if it may. The contact is locked by the caller.
pub async fn starting(
    tx: &mut Tx,
    account: Uuid,
    (bot, contact): (Option<Uuid>, Uuid),
    now: Timestamp,
) -> Result<Option<Bot>, Error> {
    let Some(bot) = bot else { return Ok(None) };
    let Some(bot) = bots::share_in_use(tx, account, bot).await?.filter(|bot| bot.enabled) else { return Ok(None) };
    let hour_ago = now.checked_sub(HOUR).unwrap_or(Timestamp::MIN);
    let starts = bots::count_start(tx, account, contact, (hour_ago, now)).await?;
    Ok(Some(bot).filter(|_| starts <= MOST_STARTS))
}

/// A new conversation is with its bot: its first turn.
pub async fn start(
    tx: &mut Tx,
    account: Uuid,
    (found, bot): (Conversation, &Bot),
    text: &str,
    now: Timestamp,
) -> Result<Option<Team>, Error> {
    bot_turns::begin(tx, account, (found.id, bot.id), bot.waits().answer(now)).await?;
    match &bot.menu {
        Some(menu) => step(tx, account, (found, bot), menu.begin(language(text)), now).await,
        None => Ok(None),
    }
}

/// The customer has written again. Returns the team in whose queue it waits now, if it does.
pub async fn heard(
    tx: &mut Tx,
    account: Uuid,
    (found, bot): (Conversation, &Bot),
    text: &str,
    now: Timestamp,
) -> Result<Option<Team>, Error> {
    if !bot.enabled {
        return leave(tx, account, &found, Exit::of(Cause::BotFailed), now).await.map(|(_, team)| team);
    }
    let turn = bot_turns::lock(tx, account, found.id).await?.ok_or(Error::NotWithBot)?;
    let turns = turn.turns().wrote(bot.waits(), now);
    bot_turns::save(tx, account, found.id, turns).await?;
    match &bot.menu {
        Some(menu) => step(tx, account, (found, bot), menu.answered(&turn.place(bot), text), now).await,
        None if turns.begun > MOST_QUESTIONS => {
            leave(tx, account, &found, Exit::of(Cause::BotFailed), now).await.map(|(_, team)| team)
        }
        None => Ok(None),
    }
}

async fn step(
    tx: &mut Tx,
    account: Uuid,
    (found, bot): (Conversation, &Bot),
    step: Step<'_>,
    now: Timestamp,
) -> Result<Option<Team>, Error> {
    let author = Author::Bot(bot.id);
    match step {
        Step::Ask(place, question) => {
            reply::say(tx, account, &found, author, &question, now).await?;
            bot_turns::asked(tx, account, found.id, (&place, bot.version), bot.waits().patience(now)).await?;
            Ok(None)
        }
        Step::HandOver(team, topics, farewell) => {
            let found = match farewell {
                Some(farewell) => reply::say(tx, account, &found, author, farewell, now).await?.1,
                None => found,
            };
            let topics = route::in_use(tx, account, topics).await?;
            let exit = Exit { to: team.map_or(To::Rules, To::Team), topics: &topics, ..Exit::of(Cause::BotHandedOver) };
            leave(tx, account, &found, exit, now).await.map(|(_, team)| team)
        }
        Step::GiveUp => leave(tx, account, &found, Exit::of(Cause::BotHandedOver), now).await.map(|(_, team)| team),
    }
}

/// The time of a conversation with a bot is over, if it still is.
pub async fn time_out(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Option<Team>, Error> {
    // The conversation first: whatever changes the turn after this look raises its version.
    let Some(found) = conversations::load(tx, account, &[id]).await?.pop() else { return Ok(None) };
    let turn = bot_turns::find(&mut *tx, account, id).await?;
    let Some(turn) = turn.filter(|turn| turn.turns().is_due(now)) else { return Ok(None) };
    let enabled = bots::find(&mut *tx, account, turn.bot_id).await?.is_some_and(|bot| bot.enabled);
    leave(tx, account, &found, Exit::of(turn.turns().ends(enabled)), now).await.map(|(_, team)| team)
}

/// Where a conversation goes from its bot.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// Its prospective team.
    Prospective,
    /// By the routing rules, as far as one matches.
    Rules,
    /// This team.
    Team(Uuid),
}

/// How a conversation leaves its bot.
#[derive(Clone, Copy, Debug)]
pub struct Exit<'a> {
    /// Where to.
    pub to: To,
    /// What it is about besides.
    pub topics: &'a [Uuid],
    /// Why.
    pub cause: Cause,
    /// The claim by which the bot has it; `None`: it does not take one.
    pub claim: Option<Uuid>,
    /// A note for those who get it, and who wrote it.
    pub note: Option<(Author, &'a str)>,
}

impl Exit<'_> {
    /// To the prospective team.
    pub fn of(cause: Cause) -> Self {
        Self { to: To::Prospective, topics: &[], cause, claim: None, note: None }
    }
}

/// Puts a conversation from its bot into a team's queue, or where the team wants that, back to whom its customer had last. Returns it,
/// and the team in whose queue it waits.
///
/// # Errors
/// [`Error::TeamNotFound`]: there is no such team.
pub async fn leave(
    tx: &mut Tx,
    account: Uuid,
    found: &Conversation,
    exit: Exit<'_>,
    now: Timestamp,
) -> Result<(Conversation, Option<Team>), Error> {
    let before = found.facts()?;
    if before.state != State::Bot {
        return Err(Error::NotWithBot);
    }
    let topics = union(&found.topic_ids, exit.topics);
    let (team, topics, priority, routed) = match exit.to {
        To::Rules => {
            let routed = by_rules(tx, account, found, (before.team, &topics)).await?;
            (routed.team, routed.topics.clone(), routed.priority, Some(routed))
        }
        To::Team(team) => (archive::resolve(tx, account, team).await?.ok_or(Error::TeamNotFound)?, topics, None, None),
        To::Prospective => {
            (archive::resolve(tx, account, before.team).await?.unwrap_or(before.team), topics, None, None)
        }
    };
    // Before the conversation is locked: the lock order.
    let sticky = sticky_owner(tx, account, (team, found.id, found.contact_id), now).await?;
    let decision = sticky.map(|offer| offer.decision);
    let (was, priority) = (found.priority()?, priority.unwrap_or(found.priority()?));
    let leaving = Leaving { team, topics: &topics, priority: priority.level() };
    if !bot_turns::leave(tx, account, (found.id, found.version), &leaving, now).await? {
        return Err(lost_race(tx).await);
    }
    if let Some(claim) = exit.claim {
        hold(tx, account, (found.id, claim), now).await?;
    }
    if priority != was {
        history::priority(tx, account, (team, found.id), (was, priority), now).await?;
    }
    let version = found.version + 1;
    if let Some(routed) = &routed {
        route::keep(tx, account, (found.id, version), routed, now).await?;
    }
    if let Some((author, text)) = exit.note {
        notes::keep(tx, account, found.id, author, text, now).await?;
    }
    let why = Why { decision, ..Why::of(exit.cause) };
    let queued = changed(tx, account, (found.id, before), why, now).await?;
    let Some(offer) = sticky.filter(|offer| offer.accepted) else { return Ok((queued, Some((account, team)))) };
    give_back::hand(tx, account, (found.id, version), (team, offer.agent), now).await?;
    let waiting = Facts { state: State::Queued, team, holder: None };
    let why = Why { decision, ..Why::of(Cause::StickyOwner) };
    Ok((changed(tx, account, (found.id, waiting), why, now).await?, None))
}

/// Holds a claim until this transaction ends, unless it has gone to somebody else meanwhile. The conversation is locked by the caller.
pub async fn hold(
    tx: &mut Tx,
    account: Uuid,
    (conversation, claim): (Uuid, Uuid),
    now: Timestamp,
) -> Result<(Turns, Claim), Error> {
    let turns = bot_turns::lock(tx, account, conversation).await?.map(|turn| turn.turns());
    match turns.and_then(|turns| Some((turns, turns.claimed_by(claim, now)?))) {
        Some(held) => Ok(held),
        None => Err(lost_race(tx).await),
    }
}

async fn changed(
    tx: &mut Tx,
    account: Uuid,
    (id, before): (Uuid, Facts),
    why: Why,
    now: Timestamp,
) -> Result<Conversation, Error> {
    let after = record(tx, account, why, &[Changed::from(id, Some(before))], now).await?;
    after.into_iter().next().ok_or(Error::NotFound)
}

/// The team by the rules, for what the bot has learned; the prospective one where none matches.
async fn by_rules(
    tx: &mut Tx,
    account: Uuid,
    found: &Conversation,
    (prospective, topics): (Uuid, &[Uuid]),
) -> Result<route::Routed, Error> {
    let text = messages::first_text(tx, account, found.id).await?;
    let arrival = Arrival {
        contact: found.contact_id,
        mailbox: found.mailbox_id,
        subject: &found.subject,
        text: &text,
        topics,
        own: Some(prospective),
    };
    route::route(tx, account, arrival).await
}

/// Those that it has, and then those that are new.
pub fn union(known: &[Uuid], more: &[Uuid]) -> Vec<Uuid> {
    let new = more.iter().filter(|topic| !known.contains(topic));
    let mut all: Vec<Uuid> = known.iter().chain(new).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
