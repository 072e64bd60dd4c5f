//! What an external bot does with its turns. A claim is good for one turn, for as long as it lasts, and for nothing after: it is looked at
//! when the call begins, and held when the conversation changes.

use diwan_runtime::ids;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Team,
    bot_talk::{self, Exit, To, hold, union},
    notes,
    reply::{self, Author},
};
use crate::{
    Error,
    domain::{
        scope::Facts,
        state::{Cause, State},
        turns::{self, Turns},
    },
    store::{
        Tx,
        bot_turns::{self, Turn},
        bots::{self, Bot},
        conversations::{self, Conversation},
        handling, lost_race,
        messages::{self, Message},
        principals,
        record::{Changed, Why, record},
        topics,
    },
};

/// Which bot calls: its principal in its account.
#[derive(Clone, Copy, Debug)]
pub struct Principal {
    pub account: Uuid,
    pub id: Uuid,
}

/// A conversation and the claim by which the bot has it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub conversation: Uuid,
    pub claim: Uuid,
}

/// What a bot says when it lets a conversation go.
#[derive(Clone, Copy, Debug)]
pub struct Parting<'a> {
    pub topics: &'a [Uuid],
    /// Empty: none.
    pub note: &'a str,
}

/// Turns that were claimed, those due first.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub claim: Uuid,
    pub turns: Vec<Turn>,
    /// What the customers wrote last.
    pub last: Vec<Message>,
}

/// Claims turns, as many as fit into an answer: what a client cannot read would be lost to everybody until the lease ends. `None`: there
/// are none. The lease is in seconds.
pub async fn claim(
    tx: &mut Tx,
    Principal { account, id: principal }: Principal,
    (most, lease): (i64, i32),
    now: Timestamp,
) -> Result<Option<Claimed>, Error> {
    // One of the installation stands in no feed: its token has shown that it is for this account.
    principals::note(tx, account, principal).await?;
    let free = bot_turns::lock_free(tx, account, principal, most, now).await?;
    if free.is_empty() {
        return Ok(None);
    }
    let ids: Vec<Uuid> = free.iter().map(|turn| turn.conversation_id).collect();
    let (last, fit) = messages::last_of_customers(tx, account, &ids).await?;
    let claim = ids::new_id();
    let claimed = |turn: Turn| turn.turns().claimed((claim, lease), now).map(|turns| turn.with(turns));
    let turns: Vec<Turn> = free.into_iter().take(fit).filter_map(claimed).collect();
    bot_turns::claim(tx, account, &turns).await?;
    Ok(Some(Claimed { claim, turns, last }))
}

/// Answers the customer. With `more` to come the turn goes on: a bot that talks is not dead, so its claim and the time for an answer begin
/// anew.
pub async fn answer(
    tx: &mut Tx,
    caller: Principal,
    claim: Claim,
    (text, more): (&str, bool),
    now: Timestamp,
) -> Result<Message, Error> {
    let Held { found, bot, .. } = held(tx, caller, claim, now).await?;
    let (message, _) = reply::say(tx, caller.account, &found, Author::Bot(bot.id), text, now).await?;
    let (turns, held) = hold(tx, caller.account, (found.id, claim.claim), now).await?;
    bot_turns::save(tx, caller.account, found.id, turns.said(held, more, (bot.waits(), now))).await?;
    Ok(message)
}

/// Hands over to a team, or by the routing rules. Returns the conversation and the team in whose queue it waits.
pub async fn hand_over(
    tx: &mut Tx,
    caller: Principal,
    claim: Claim,
    (team, parting): (Option<Uuid>, Parting<'_>),
    now: Timestamp,
) -> Result<(Conversation, Option<Team>), Error> {
    let Held { found, bot, .. } = held(tx, caller, claim, now).await?;
    require_topics(tx, caller.account, &found, parting.topics).await?;
    let exit = Exit {
        to: team.map_or(To::Rules, To::Team),
        topics: parting.topics,
        cause: Cause::BotHandedOver,
        claim: Some(claim.claim),
        note: Some((Author::Bot(bot.id), parting.note)).filter(|(_, text)| !text.is_empty()),
    };
    bot_talk::leave(tx, caller.account, &found, exit, now).await
}

/// Closes, unless the customer has written what the bot has not seen. A team that wants a topic wants it of people.
pub async fn close(
    tx: &mut Tx,
    caller: Principal,
    claim: Claim,
    parting: Parting<'_>,
    now: Timestamp,
) -> Result<Conversation, Error> {
    let Held { found, before, turns, claimed, bot } = held(tx, caller, claim, now).await?;
    if !turns.has_seen_all(claimed) {
        return Err(Error::CustomerWrote);
    }
    require_topics(tx, caller.account, &found, parting.topics).await?;
    let all = union(&found.topic_ids, parting.topics);
    let (account, id) = (caller.account, found.id);
    let done = handling::set_topics(tx, account, (id, found.version), &all).await?
        && conversations::close(tx, account, id, found.version + 1, now).await?;
    if !done {
        return Err(lost_race(tx).await);
    }
    hold(tx, account, (id, claim.claim), now).await?;
    if !parting.note.is_empty() {
        notes::keep(tx, account, id, Author::Bot(bot.id), parting.note, now).await?;
    }
    let after = record(tx, account, Why::of(Cause::Closed), &[Changed::from(id, Some(before))], now).await?;
    after.into_iter().next().ok_or(Error::NotFound)
}

struct Held {
    found: Conversation,
    before: Facts,
    turns: Turns,
    claimed: turns::Claim,
    bot: Bot,
}

/// What the caller has claimed. The bot's row is shared: it is not disabled before the commit.
///
/// # Errors
/// [`Error::NotFound`]: it has never been with a bot of this principal. [`Error::NotWithBot`], [`Error::ClaimLost`].
async fn held(tx: &mut Tx, caller: Principal, claim: Claim, now: Timestamp) -> Result<Held, Error> {
    let Principal { account, id: principal } = caller;
    let found = conversations::load(tx, account, &[claim.conversation]).await?.pop().ok_or(Error::NotFound)?;
    let bot = match found.bot_id {
        Some(bot) => bots::share(tx, account, bot).await?,
        None => None,
    };
    let bot = bot.filter(|bot| bot.principal_id == Some(principal)).ok_or(Error::NotFound)?;
    let before = found.facts()?;
    let turn = bot_turns::find(&mut *tx, account, found.id).await?;
    let with_bot = before.state == State::Bot && bot.enabled;
    let turns = turn.filter(|_| with_bot).ok_or(Error::NotWithBot)?.turns();
    let claimed = turns.claimed_by(claim.claim, now).ok_or(Error::ClaimLost)?;
    Ok(Held { found, before, turns, claimed, bot })
}

/// They are there, and in use unless the conversation has them already.
async fn require_topics(tx: &mut Tx, account: Uuid, found: &Conversation, wanted: &[Uuid]) -> Result<(), Error> {
    let known = topics::share(tx, account, wanted).await?;
    if wanted.iter().any(|topic| !known.iter().any(|(id, _)| id == topic)) {
        return Err(Error::TopicNotFound);
    }
    let archived = |(topic, archived): &(Uuid, bool)| *archived && !found.topic_ids.contains(topic);
    if known.iter().any(archived) { Err(Error::TopicArchived) } else { Ok(()) }
}
