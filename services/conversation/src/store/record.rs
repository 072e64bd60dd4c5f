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
    let ids: Vec<_> = changed.iter().map(|changed| changed.id).collect();
    let after = load(tx, account, &ids).await?;
    record_known(tx, account, why, (changed, after), now).await
}

/// As [`record`], for whoever has the conversations after the changes at hand.
pub async fn record_known(
    tx: &mut Tx,
    account: Uuid,
    why: Why,
    (changed, after): (&[Changed], Vec<Conversation>),
    now: Timestamp,
) -> Result<Vec<Conversation>, Error> {
    let mut by_id: HashMap<Uuid, Conversation> = after.into_iter().map(|found| (found.id, found)).collect();
    let after: Option<Vec<_>> = changed.iter().map(|changed| by_id.remove(&changed.id)).collect();
    let after = after.ok_or(Error::NotFound)?;
    if why.cause.is_transition() {
        insert_transitions(tx, account, why, (changed, &after), now).await?;
    }
    let mut events = Vec::with_capacity(changed.len());
    let mut left = Vec::new();
    for (changed, after) in changed.iter().zip(&after) {
        events.push(event(account, why.cause, changed, after)?);
        if left_its_bot(changed, after)? {
            left.push(changed.id);
        }
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
    (changed, after): (&[Changed], &[Conversation]),
    now: Timestamp,
) -> Result<(), Error> {
    let from = |changed: &Changed| changed.before.map(|before| before.state.name());
    // Who held a closed one last is no holder any more.
    let held = |before: Facts| before.holder.filter(|_| before.state != State::Closed);
    let bot = |(changed, after): (&Changed, &Conversation)| {
        let ends = [from(changed), Some(after.state.as_str())];
        after.bot_id.filter(|_| ends.contains(&Some(State::Bot.name())))
    };
    let bots: Vec<Option<Uuid>> = changed.iter().zip(after).map(bot).collect();
    sqlx::query!(
        "insert into transitions (account_id, conversation_id, version, at, cause, actor_id, from_state, to_state,
                                  from_holder_id, to_holder_id, team_id, over_limit, decision_id, bot_id, from_team_id)
         select $1, id, version, $2, $3, $4, from_state, to_state, from_holder, to_holder, team, over_limit, $5, bot,
                nullif(from_team, team)
         from unnest($6::uuid[], $7::bigint[], $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::uuid[], $13::uuid[],
                     $14::boolean[], $15::uuid[])
              as changed (id, version, from_state, to_state, from_holder, to_holder, from_team, team, over_limit, bot)",
        account,
        now.to_sqlx() as _,
        why.cause.name(),
        why.actor,
        why.decision,
        &column(after, |after| after.id),
        &column(after, |after| after.version),
        &column(changed, from) as _,
        &column(after, |after| after.state.as_str()) as _,
        &column(changed, |changed| changed.before.and_then(held)) as _,
        &column(after, |after| after.holder_id) as _,
        &column(changed, |changed| changed.before.map(|before| before.team)) as _,
        &column(after, |after| after.team_id),
        &column(changed, |changed| changed.over_limit),
        &bots as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert transitions"))
    .await?;
    Ok(())
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
