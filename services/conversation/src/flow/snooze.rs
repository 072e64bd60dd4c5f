//! Putting conversations off, and waking them.

use diwan_access::User;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Team, authority::may_act, give_back};
use crate::{
    Error,
    domain::{
        scope::{Facts, Scope},
        state::{Cause, State},
    },
    store::{
        Tx,
        conversations::{self, Conversation},
        handling, lost_race,
        record::{Changed, Why, record},
        slots, teams, users,
    },
};

/// Puts a held conversation off until a time: it keeps its holder and takes no slot.
pub async fn snooze(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    id: Uuid,
    until: Timestamp,
    now: Timestamp,
) -> Result<Conversation, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    match before.state {
        State::Closed => return Err(Error::AlreadyClosed),
        _ if !may_act(scope, before) => return Err(Error::NotHolder),
        State::Queued | State::Bot => return Err(Error::NotHeld),
        State::Open | State::Snoozed => {}
    }
    let occupied = before.holder.filter(|_| before.state == State::Open);
    if let Some(holder) = occupied {
        slots::lock(tx, account, before.team, holder).await?;
    }
    if !handling::snooze(tx, account, (id, found.version), until).await? {
        return Err(lost_race(tx).await);
    }
    if let Some(holder) = occupied {
        slots::add_open(tx, account, before.team, holder, -1).await?;
    }
    recorded(tx, account, Why::by(Cause::Snoozed, caller.user_id), Changed::from(id, Some(before)), now).await
}

/// Wakes a conversation by hand: its holder gets it back whatever his limit says; for anybody else it wakes as its time would wake it.
/// Returns whether its holder is above the limit by it.
pub async fn unsnooze(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    id: Uuid,
    now: Timestamp,
) -> Result<(Conversation, bool), Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    if before.state != State::Snoozed {
        return Err(Error::NotSnoozed);
    }
    if !may_act(scope, before) {
        return Err(Error::NotHolder);
    }
    if before.holder == Some(caller.user_id) {
        return resume(tx, caller, &found, before, now).await;
    }
    wake(tx, account, &found, before, Some(caller.user_id), now).await.map(|conversation| (conversation, false))
}

async fn resume(
    tx: &mut Tx,
    caller: &User,
    found: &Conversation,
    before: Facts,
    now: Timestamp,
) -> Result<(Conversation, bool), Error> {
    let User { account_id: account, user_id: user, .. } = *caller;
    users::require_active(tx, caller).await?;
    let open = slots::lock(tx, account, before.team, user).await?;
    give_back::hand(tx, account, (found.id, found.version), (before.team, user), now).await?;
    let limit = teams::find(tx, account, before.team).await?.and_then(|team| team.limit);
    let over_limit = limit.is_some_and(|limit| open >= limit);
    let changed = Changed { id: found.id, before: Some(before), over_limit };
    let after = recorded(tx, account, Why::by(Cause::Woken, user), changed, now).await?;
    Ok((after, over_limit))
}

/// Wakes a conversation whose time has come. Returns its team if it waits in its queue now; another replica may have woken it, or
/// somebody put it off further.
pub async fn wake_due(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Option<Team>, Error> {
    let Some(found) = conversations::load(tx, account, &[id]).await?.pop() else { return Ok(None) };
    if found.snoozed_until.is_none_or(|until| until.to_jiff() > now) {
        return Ok(None);
    }
    let before = found.facts()?;
    let after = wake(tx, account, &found, before, None, now).await?;
    Ok((after.state()? == State::Queued).then_some((account, after.team_id)))
}

async fn wake(
    tx: &mut Tx,
    account: Uuid,
    found: &Conversation,
    before: Facts,
    actor: Option<Uuid>,
    now: Timestamp,
) -> Result<Conversation, Error> {
    let given = give_back::give_back(tx, account, found, before, now).await?;
    let why = Why { cause: Cause::Woken, actor, decision: given.decision };
    recorded(tx, account, why, Changed::from(found.id, Some(before)), now).await
}

async fn recorded(
    tx: &mut Tx,
    account: Uuid,
    why: Why,
    changed: Changed,
    now: Timestamp,
) -> Result<Conversation, Error> {
    record(tx, account, why, &[changed], now).await?.into_iter().next().ok_or(Error::NotFound)
}
