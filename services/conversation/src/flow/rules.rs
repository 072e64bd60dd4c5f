//! The list of routing rules. Invariant: its places are unique, it has at most [`MOST`] rules and is not larger than [`LARGEST`], and none
//! of them names an archived team. Every change of it locks the list first, so each is made to the list that it has looked at. A team that a rule names is held before
//! that: its archiving waits for the rule, and then redirects it.

use std::collections::BTreeSet;

use diwan_feed::Change;
use diwan_proto::conversation::v1::RoutingRuleChanged;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::Message as _;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Error,
    domain::{rules::Conditions, state::Priority},
    store::{
        Tx, bots, groups,
        rules::{self, Stored},
        topics,
    },
};

/// The most rules of an account.
pub const MOST: usize = 500;
/// The most bytes of all of them, as the protocol shows them: the list is one answer, of which clients take 4 MiB, and is read for each
/// arrival.
const LARGEST: usize = 2 * 1024 * 1024;

/// What a rule is to say.
#[derive(Clone, Debug)]
pub struct Content {
    pub name: String,
    pub conditions: Conditions,
    pub team: Uuid,
    pub priority: Option<Priority>,
    pub add_topics: Vec<Uuid>,
    pub bot: Option<Uuid>,
}

/// Makes a rule at the end of the list.
pub async fn create(tx: &mut Tx, account: Uuid, content: &Content, now: Timestamp) -> Result<Stored, Error> {
    require(tx, account, content).await?;
    rules::lock_list(tx, account).await?;
    require_bot(tx, account, content).await?;
    let known = rules::list(&mut *tx, account).await?;
    if known.len() >= MOST {
        return Err(Error::TooManyRules);
    }
    let position = known.last().map_or(1, |last| last.position + 1);
    let rule = stored((ids::new_id(), position), content, (1, now));
    require_room(&known, &rule)?;
    save(tx, account, rule, now).await
}

/// Replaces what a rule says.
pub async fn update(tx: &mut Tx, account: Uuid, id: Uuid, content: &Content, now: Timestamp) -> Result<Stored, Error> {
    require(tx, account, content).await?;
    rules::lock_list(tx, account).await?;
    require_bot(tx, account, content).await?;
    let all = rules::list(&mut *tx, account).await?;
    let known = all.iter().find(|rule| rule.id == id).ok_or(Error::RuleNotFound)?;
    let rule = stored((id, known.position), content, (known.version + 1, known.created_at.to_jiff()));
    require_room(&all, &rule)?;
    save(tx, account, rule, now).await
}

/// Removes a rule.
pub async fn delete(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    rules::lock_list(tx, account).await?;
    let known = rules::find(&mut *tx, account, id).await?.ok_or(Error::RuleNotFound)?;
    rules::delete(tx, account, id).await?;
    announce(tx, account, &[Stored { version: known.version + 1, ..known }], true, now).await
}

/// Puts the whole list into this order, in one statement.
pub async fn reorder(tx: &mut Tx, account: Uuid, order: &[Uuid]) -> Result<Vec<Stored>, Error> {
    rules::lock_list(tx, account).await?;
    let known: BTreeSet<Uuid> = rules::list(&mut *tx, account).await?.into_iter().map(|rule| rule.id).collect();
    if order.len() != known.len() || order.iter().copied().collect::<BTreeSet<_>>() != known {
        return Err(Error::RulesChanged);
    }
    rules::reorder(tx, account, order).await?;
    rules::list(tx, account).await
}

/// A team was archived: rules that name it name the one that receives. The team's row is locked by the caller.
pub async fn redirect(
    tx: &mut Tx,
    account: Uuid,
    (archived, receiving): (Uuid, Uuid),
    now: Timestamp,
) -> Result<(), Error> {
    rules::lock_list(tx, account).await?;
    let changed = rules::redirect(tx, account, archived, receiving).await?;
    announce(tx, account, &changed, false, now).await
}

/// A bot is retired: rules that name it name none. Its row is locked afterwards: the lock order.
pub async fn without_bot(tx: &mut Tx, account: Uuid, bot: Uuid, now: Timestamp) -> Result<(), Error> {
    rules::lock_list(tx, account).await?;
    let changed = rules::without_bot(tx, account, bot).await?;
    announce(tx, account, &changed, false, now).await
}

/// Its bot is in use, and stays so until the end of the transaction. The list is locked: the lock order.
async fn require_bot(tx: &mut Tx, account: Uuid, content: &Content) -> Result<(), Error> {
    match content.bot {
        Some(bot) if bots::share_in_use(tx, account, bot).await?.is_none() => Err(Error::BotNotFound),
        _ => Ok(()),
    }
}

/// Its team and topics are there, and stay until the end of the transaction.
async fn require(tx: &mut Tx, account: Uuid, content: &Content) -> Result<(), Error> {
    let named: BTreeSet<Uuid> = content.conditions.topics.iter().chain(&content.add_topics).copied().collect();
    let named: Vec<Uuid> = named.into_iter().collect();
    if topics::share(tx, account, &named).await?.len() != named.len() {
        return Err(Error::TopicNotFound);
    }
    let groups: BTreeSet<Uuid> = content.conditions.groups.iter().copied().collect();
    let groups: Vec<Uuid> = groups.into_iter().collect();
    if groups::share(tx, account, &groups).await? != groups.len() {
        return Err(Error::GroupNotFound);
    }
    if rules::share_active(tx, account, content.team).await? { Ok(()) } else { Err(Error::TeamNotFound) }
}

/// The list is small enough with this rule in it, new or in place of what it said.
fn require_room(known: &[Stored], rule: &Stored) -> Result<(), Error> {
    let others = known.iter().filter(|known| known.id != rule.id);
    let bytes: usize = others.chain([rule]).map(|rule| rule.to_proto().encoded_len()).sum();
    if bytes > LARGEST { Err(Error::RulesTooLarge) } else { Ok(()) }
}

fn stored((id, position): (Uuid, i32), content: &Content, (version, created_at): (i64, Timestamp)) -> Stored {
    Stored {
        id,
        position,
        name: content.name.clone(),
        conditions: Json(content.conditions.clone()),
        team_id: content.team,
        priority: content.priority.map(Priority::level),
        add_topic_ids: content.add_topics.clone(),
        bot_id: content.bot,
        version,
        created_at: created_at.to_sqlx(),
    }
}

async fn save(tx: &mut Tx, account: Uuid, rule: Stored, now: Timestamp) -> Result<Stored, Error> {
    rules::save(tx, account, &rule).await?;
    announce(tx, account, std::slice::from_ref(&rule), false, now).await?;
    Ok(rule)
}

async fn announce(tx: &mut Tx, account: Uuid, rules: &[Stored], removed: bool, now: Timestamp) -> Result<(), Error> {
    let event = |rule: &Stored| {
        let payload = RoutingRuleChanged { account_id: account.to_string(), rule: Some(rule.to_proto()), removed };
        Change::new(rule.id, rule.version, &payload)
    };
    let events: Vec<_> = rules.iter().map(event).collect();
    Ok(diwan_feed::append(tx, account, now, &events).await?)
}
