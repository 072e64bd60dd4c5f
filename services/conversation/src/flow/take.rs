//! Taking a conversation by hand.

use diwan_access::User;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Error,
    domain::{
        scope::Facts,
        state::{Cause, State},
    },
    store::{
        Tx,
        conversations::{self, Conversation},
        lost_race, presence,
        record::{Changed, Why, record},
        scopes, slots, teams, users,
    },
};

/// Gives an unassigned conversation to the caller, above his limit too. Returns it and whether he is above the limit by it.
///
/// Of those who take it at once one succeeds: the others find another version than they have read.
pub async fn take(tx: &mut Tx, caller: &User, id: Uuid, now: Timestamp) -> Result<(Conversation, bool), Error> {
    let User { account_id: account, user_id: user, .. } = *caller;
    users::require_active(tx, caller).await?;
    let found = conversations::load(tx, account, &[id]).await?.pop().ok_or(Error::NotFound)?;
    let before = found.facts()?;
    let open = lock_slot(tx, account, (before.team, user)).await?;
    // Under his slot's lock he cannot leave the team before this is committed: nothing is left with him behind his leaving.
    let scope = scopes::of(&mut *tx, caller).await?;
    // Who could have seen it in the queue a moment ago learns that somebody was faster, though he does not see it any more.
    let waiting = Facts { state: State::Queued, ..before };
    match before.state {
        State::Open | State::Snoozed if before.holder == Some(user) => return Ok((found, false)),
        State::Open | State::Snoozed if scope.sees(before) || scope.sees(waiting) => return Err(Error::AlreadyHeld),
        _ if !scope.sees(before) => return Err(Error::NotFound),
        State::Closed => return Err(Error::AlreadyClosed),
        State::Queued | State::Bot | State::Open | State::Snoozed => {}
    }
    if !conversations::hold(tx, account, (id, found.version), (before.team, user), now).await? {
        return Err(lost_race(tx).await);
    }
    slots::add_open(tx, account, before.team, user, 1).await?;
    let limit = teams::find(tx, account, before.team).await?.and_then(|team| team.limit);
    let over_limit = limit.is_some_and(|limit| open >= limit);
    let changed = Changed { id, before: Some(before), over_limit };
    let after = record(tx, account, Why::by(Cause::Taken, user), &[changed], now).await?;
    after.into_iter().next().map(|taken| (taken, over_limit)).ok_or(Error::NotFound)
}

/// Locks his slot and returns what he holds.
///
/// Whoever has none in this team yet shares its settings and his presence besides. What changes these locks the slots that there are, and
/// would neither wait for this one nor set a timer for what he takes meanwhile; nor would this know the change.
async fn lock_slot(tx: &mut Tx, account: Uuid, (team, user): (Uuid, Uuid)) -> Result<i32, Error> {
    let known = slots::exists(tx, account, team, user).await?;
    if !known {
        teams::share(tx, account, team).await?;
    }
    let open = slots::lock(tx, account, team, user).await?;
    if !known {
        presence::share(tx, account, user).await?;
    }
    Ok(open)
}
