//! A conversation goes to another person or team, because somebody says so.

use std::collections::BTreeMap;

use diwan_access::User;
use jiff::Timestamp;
use uuid::Uuid;

use super::authority::{directs, may_act};
use crate::{
    Error,
    domain::{
        scope::{Facts, Scope},
        state::{Cause, State},
    },
    store::{
        Tx, archive,
        conversations::{self, Conversation},
        lost_race,
        record::{Changed, Why, record},
        slots, teams, users,
    },
};

/// Where a conversation goes.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// The team; `None`: the one that it is with.
    pub team: Option<Uuid>,
    /// The person; `None`: into the team's queue.
    pub user: Option<Uuid>,
}

/// What a hand-over led to.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The conversation after it.
    pub conversation: Conversation,
    /// Whether its new holder is above the limit by it.
    pub over_limit: bool,
    /// The team that it came from, where a slot may be free now.
    pub from: Uuid,
}

/// Hands over what the caller holds, or directs: whoever directs the team assigns by this too (`cause`).
///
/// Of those who hand over, take or close at once one succeeds: the others find another version than they have read.
pub async fn hand_over(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    id: Uuid,
    to: Destination,
    cause: Cause,
    now: Timestamp,
) -> Result<Moved, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    if cause == Cause::Assigned && !directs(scope, before.team) {
        return Err(Error::NotAllowed);
    }
    if before.state == State::Closed {
        return Err(Error::AlreadyClosed);
    }
    if !may_act(scope, before) {
        return Err(Error::NotHolder);
    }
    if let Some(user) = to.user {
        users::require_assignable(tx, account, user).await?;
    }
    // Where the team was archived a moment ago, the one that has taken its place takes it.
    let team = match to.team {
        Some(team) => Some(archive::resolve(tx, account, team).await?.ok_or(Error::TeamNotFound)?),
        None => None,
    };
    let to = Destination { team, ..to };
    if is_there(before, to) {
        return Ok(Moved { conversation: found, over_limit: false, from: before.team });
    }
    let over_limit = relocate(tx, account, &found, before, to, now).await?;
    let changed = Changed { id, before: Some(before), over_limit };
    let after = record(tx, account, Why::by(cause, caller.user_id), &[changed], now).await?;
    let conversation = after.into_iter().next().ok_or(Error::NotFound)?;
    Ok(Moved { conversation, over_limit, from: before.team })
}

/// Whether there is nothing to do.
pub fn is_there(before: Facts, to: Destination) -> bool {
    let state = if to.user.is_some() { State::Open } else { State::Queued };
    before.state == state && before.holder == to.user && to.team.is_none_or(|team| team == before.team)
}

/// Moves it, the counters with it. Returns whether its new holder is above the limit by it.
///
/// # Errors
/// [`Error::NotAssignable`], before anything has changed.
pub async fn relocate(
    tx: &mut Tx,
    account: Uuid,
    found: &Conversation,
    before: Facts,
    to: Destination,
    now: Timestamp,
) -> Result<bool, Error> {
    let team = to.team.unwrap_or(before.team);
    let freed = before.holder.filter(|_| before.state == State::Open).map(|holder| (holder, before.team));
    let taken = to.user.map(|user| (user, team));
    let open = lock_slots(tx, account, freed.into_iter().chain(taken)).await?;
    // Under his slot's lock: he cannot leave the team before this is committed.
    if let Some(user) = to.user
        && !slots::agents(tx, account, team, Some(user)).await?.iter().any(|agent| agent.enabled)
    {
        return Err(Error::NotAssignable);
    }
    let conversation = (found.id, found.version);
    let moved = match to.user {
        Some(user) => conversations::hold(tx, account, conversation, (team, user), now).await?,
        None => conversations::queue(tx, account, conversation, team, now).await?,
    };
    if !moved {
        return Err(lost_race(tx).await);
    }
    if let Some((holder, from)) = freed {
        slots::add_open(tx, account, from, holder, -1).await?;
    }
    let Some((user, team)) = taken else { return Ok(false) };
    slots::add_open(tx, account, team, user, 1).await?;
    let limit = teams::find(tx, account, team).await?.and_then(|team| team.limit);
    Ok(limit.is_some_and(|limit| open[&(user, team)] >= limit))
}

/// Locks slots, as (user, team), in the lock order. Returns what each holds.
pub async fn lock_slots(
    tx: &mut Tx,
    account: Uuid,
    slots: impl IntoIterator<Item = (Uuid, Uuid)>,
) -> Result<BTreeMap<(Uuid, Uuid), i32>, Error> {
    let mut open: BTreeMap<_, _> = slots.into_iter().map(|slot| (slot, 0)).collect();
    for ((user, team), count) in &mut open {
        *count = slots::lock(tx, account, *team, *user).await?;
    }
    Ok(open)
}
