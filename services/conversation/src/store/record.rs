//! What every change of conversations leaves behind, in its own transaction: a transition and an event each.

use std::collections::HashMap;

use diwan_feed::Change;
use diwan_proto::conversation::v1::ConversationChanged;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Tx, bot_turns,
    conversations::{Conversation, load},
    unanswered,
};
use crate::{
    Error,
    domain::{
        scope::Facts,
        state::{Cause, State},
    },
};

/// Why conversations changed, in one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Why {
    /// Why.
    pub cause: Cause,
    /// The user who caused it; `None`: the customer or the routing.
    pub actor: Option<Uuid>,
    /// The decision of the routing behind it.
    pub decision: Option<Uuid>,
}

impl Why {
    /// Neither a person nor the routing did it.
    pub fn of(cause: Cause) -> Self {
        Self { cause, actor: None, decision: None }
    }

    /// A person did it.
    pub fn by(cause: Cause, actor: Uuid) -> Self {
        Self { cause, actor: Some(actor), decision: None }
    }
}

/// One that changed.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// The conversation.
    pub id: Uuid,
    /// As it was; `None`: it is new.
    pub before: Option<Facts>,
    /// Whether its new holder is above the limit by it.
    pub over_limit: bool,
}

impl Changed {
    /// Within the limit.
    pub fn from(id: Uuid, before: Option<Facts>) -> Self {
        Self { id, before, over_limit: false }
    }
}

/// Records the changes, which have been made in this transaction, and returns the conversations after them, in this order.
pub async fn record(
    tx: &mut Tx,
    account: Uuid,
    why: Why,
    changed: &[Changed],
    now: Timestamp,
) -> Result<Vec<Conversation>, Error> {
    if why.cause.is_transition() {
        insert_transitions(tx, account, why, changed, now).await?;
    }
    let ids: Vec<_> = changed.iter().map(|changed| changed.id).collect();
    let loaded = load(tx, account, &ids).await?;
    let mut by_id: HashMap<Uuid, Conversation> = loaded.into_iter().map(|found| (found.id, found)).collect();
    let mut after = Vec::with_capacity(changed.len());
    let mut events = Vec::with_capacity(changed.len());
    let mut left = Vec::new();
    for changed in changed {
        let conversation = by_id.remove(&changed.id).ok_or(Error::NotFound)?;
        events.push(event(account, why.cause, changed, &conversation)?);
        if left_its_bot(changed, &conversation)? {
            left.push(changed.id);
        }
        after.push(conversation);
    }
    let unanswered: Vec<Uuid> = after.iter().filter(|found| found.waits_for_holder()).map(|found| found.id).collect();
    if !unanswered.is_empty() {
        unanswered::arm(tx, account, &unanswered, now).await?;
    }
    if !left.is_empty() {
        bot_turns::end(tx, account, &left).await?;
    }
    diwan_feed::append(tx, account, now, &events).await?;
    Ok(after)
}

/// Every way out of the state BOT leads through here, so no turn outlives it.
fn left_its_bot(changed: &Changed, after: &Conversation) -> Result<bool, Error> {
    let was_there = changed.before.is_some_and(|before| before.state == State::Bot);
    Ok(was_there && after.state()? != State::Bot)
}

fn event(account: Uuid, cause: Cause, changed: &Changed, after: &Conversation) -> Result<Change, Error> {
    let (state, team, holder) = match changed.before {
        None => (0, String::new(), None),
        Some(before) => (before.state.to_proto().into(), before.team.to_string(), before.holder),
    };
    let payload = ConversationChanged {
        conversation: Some(after.to_proto(account)?),
        cause: cause.to_proto().into(),
        previous_state: state,
        previous_team_id: team,
        previous_holder_id: holder.map(|id| id.to_string()).unwrap_or_default(),
    };
    Ok(Change::new(after.id, after.version, &payload))
}

async fn insert_transitions(
    tx: &mut Tx,
    account: Uuid,
    why: Why,
    changed: &[Changed],
    now: Timestamp,
) -> Result<(), Error> {
    let ids: Vec<Uuid> = changed.iter().map(|changed| changed.id).collect();
    let states: Vec<Option<&str>> =
        changed.iter().map(|changed| changed.before.map(|before| before.state.name())).collect();
    // Who held a closed one last is no holder any more.
    let held = |before: Facts| before.holder.filter(|_| before.state != State::Closed);
    let holders: Vec<Option<Uuid>> = changed.iter().map(|changed| changed.before.and_then(held)).collect();
    let teams: Vec<Option<Uuid>> = changed.iter().map(|changed| changed.before.map(|before| before.team)).collect();
    let over: Vec<bool> = changed.iter().map(|changed| changed.over_limit).collect();
    // Each is looked up by its key: a join's plan, made while the table was young, would read all of it for each arrival.
    sqlx::query!(
        "insert into transitions (account_id, conversation_id, version, at, cause, actor_id, from_state, to_state,
                                  from_holder_id, to_holder_id, team_id, over_limit, decision_id, bot_id, from_team_id)
         select $1, c.id, c.version, $2, $3, $4, d.state, c.state, d.holder, c.holder_id, c.team_id, d.over_limit, $5,
                case when 'BOT' in (d.state, c.state) then c.bot_id end, nullif(d.team, c.team_id)
         from unnest($6::uuid[], $7::text[], $8::uuid[], $9::boolean[], $10::uuid[]) as d (id, state, holder, over_limit, team)
         cross join lateral (select * from conversations where account_id = $1 and id = d.id limit 1) c",
        account,
        now.to_sqlx() as _,
        why.cause.name(),
        why.actor,
        why.decision,
        &ids,
        &states as _,
        &holders as _,
        &over,
        &teams as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert transitions"))
    .await?;
    Ok(())
}
