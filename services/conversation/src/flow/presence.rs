//! Coming, switching and going.

use std::time::Duration;

use diwan_access::User;
use diwan_feed::Change;
use diwan_proto::conversation::v1::AvailabilityChanged;
use jiff::Timestamp;
use uuid::Uuid;

use super::Team;
use crate::{
    Error,
    domain::state::Availability,
    store::{
        Tx, history,
        presence::{self, NewSession, Presence},
        slots, teams, unanswered, users,
    },
};

/// A live session begins: whoever was OFFLINE gets what he chose since he signed in, or his role's default; anybody else stays what he is. Returns his availability
/// and the teams that the routing looks at.
pub async fn enter(
    tx: &mut Tx,
    caller: &User,
    session: NewSession,
    grace: Duration,
    now: Timestamp,
) -> Result<(Presence, Vec<Team>), Error> {
    let User { account_id: account, user_id: user, .. } = *caller;
    users::require_active(tx, caller).await?;
    presence::require_signed_in(tx, account, session.sign_in).await?;
    let teams = lock_agent(tx, account, user).await?;
    let present = presence::lock(tx, account, user).await?.filter(|known| known.state != Availability::Offline);
    // Whoever never leaves, but comes back often, would leave a row each time.
    presence::forget_sessions(tx, account, user, Some(presence::before(now, grace))).await?;
    presence::start_session(tx, account, user, session).await?;
    if let Some(present) = present {
        presence::adopt(tx, account, user, session.sign_in).await?;
        return Ok((present, Vec::new()));
    }
    let default = if caller.is_administrator() { Availability::Watching } else { Availability::Active };
    let state = presence::chosen(tx, account, user, session.sign_in).await?.unwrap_or(default);
    Ok((become_available(tx, account, user, state, now).await?, teams))
}

/// Switches a user with a live session, until he signs out of `sign_in`; `None`: somebody else switches him. Returns his availability and the teams that the routing looks at.
pub async fn switch(
    tx: &mut Tx,
    (account, user, sign_in): (Uuid, Uuid, Option<Uuid>),
    state: Availability,
    now: Timestamp,
) -> Result<(Presence, Vec<Team>), Error> {
    // Who is not known has never been there.
    let active = users::share(tx, account, user).await?.ok_or(Error::NoLiveSession)?;
    if !active {
        return Err(Error::Deactivated);
    }
    if let Some(sign_in) = sign_in {
        presence::require_signed_in(tx, account, sign_in).await?;
    }
    let teams = lock_agent(tx, account, user).await?;
    let present = presence::lock(tx, account, user).await?;
    let present = present.filter(|present| present.state != Availability::Offline).ok_or(Error::NoLiveSession)?;
    presence::choose(tx, account, user, state, sign_in).await?;
    if present.state == state {
        return Ok((present, Vec::new()));
    }
    Ok((become_available(tx, account, user, state, now).await?, teams))
}

/// Makes a user OFFLINE if his last session has been over for the grace period.
pub async fn leave(tx: &mut Tx, account: Uuid, user: Uuid, grace: Duration, now: Timestamp) -> Result<(), Error> {
    slots::lock_of_user(tx, account, user).await?;
    leave_if_gone(tx, account, user, grace, now).await
}

/// One of a user's sign-ins has ended, and what he chose in it: without another live session he is OFFLINE at once. His slots are locked.
pub async fn sign_out(
    tx: &mut Tx,
    (account, user, sign_in): (Uuid, Uuid, Uuid),
    grace: Duration,
    now: Timestamp,
) -> Result<(), Error> {
    presence::lock(tx, account, user).await?;
    presence::end_sign_in(tx, account, user, sign_in, now).await?;
    leave_if_gone(tx, account, user, grace, now).await
}

async fn leave_if_gone(tx: &mut Tx, account: Uuid, user: Uuid, grace: Duration, now: Timestamp) -> Result<(), Error> {
    let present = presence::lock(tx, account, user).await?;
    if !present.is_some_and(|present| present.state != Availability::Offline) {
        return Ok(());
    }
    // Before the look: one that is extended meanwhile is seen by it, and one that is gone cannot be extended any more.
    presence::forget_sessions(tx, account, user, Some(presence::before(now, grace))).await?;
    if !presence::is_live(tx, account, user, grace, now).await? {
        become_available(tx, account, user, Availability::Offline, now).await?;
    }
    Ok(())
}

/// Makes a user OFFLINE whose access was cut, without a grace period. His slots are locked.
pub async fn cut_off(tx: &mut Tx, account: Uuid, user: Uuid, now: Timestamp) -> Result<(), Error> {
    let present = presence::lock(tx, account, user).await?;
    presence::forget_sessions(tx, account, user, None).await?;
    if present.is_some_and(|present| present.state != Availability::Offline) {
        become_available(tx, account, user, Availability::Offline, now).await?;
    }
    Ok(())
}

/// Locks the routing of a user's teams, so that the others' counts stand still, and his slots. Returns his teams.
async fn lock_agent(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<Vec<Team>, Error> {
    teams::lock_of_user(tx, account, user).await?;
    let teams = slots::lock_of_user(tx, account, user).await?;
    Ok(teams.into_iter().map(|team| (account, team)).collect())
}

async fn become_available(
    tx: &mut Tx,
    account: Uuid,
    user: Uuid,
    state: Availability,
    now: Timestamp,
) -> Result<Presence, Error> {
    if state == Availability::Active {
        slots::start_at_minimum(tx, account, user, None).await?;
    }
    let presence = presence::set(tx, account, user, state, now).await?;
    history::agents(tx, account, (None, Some(user)), false, now).await?;
    if state == Availability::Offline {
        unanswered::arm_holder(tx, account, user, now).await?;
    }
    let event = AvailabilityChanged { availability: Some(presence.to_proto()) };
    diwan_feed::append(tx, account, now, &[Change::new(user, presence.version, &event)]).await?;
    Ok(presence)
}
