//! What changes when the team service or identity say so.

use std::collections::BTreeMap;

use diwan_proto::team::v1::Team as ProtoTeam;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Team, bots, presence, rules};
use crate::{
    Error,
    domain::{
        scope::Facts,
        state::{Cause, State},
    },
    store::{
        Tx, archive, conversations, feed, history, hours,
        record::{Changed, Why, record},
        slots, teams, unanswered, users,
    },
};

/// A team is new or has changed. Returns the teams that the routing looks at.
pub async fn team_changed(
    tx: &mut Tx,
    (account, id, version): (Uuid, Uuid, i64),
    team: &ProtoTeam,
    now: Timestamp,
) -> Result<Vec<Team>, Error> {
    let Some(taken) = teams::upsert(tx, account, id, version, team).await? else { return Ok(Vec::new()) };
    let hours = team.working_hours.as_ref().map(diwan_hours::trusted);
    hours::set(tx, account, id, hours.as_ref().map(|hours| (hours, team.time_zone.as_str())), now).await?;
    let heir = team.archived_at.and_then(|_| Uuid::try_parse(&team.receiving_team_id).ok());
    let moves = archive::set(tx, account, id, heir, now).await?;
    if let Some(heir) = heir {
        rules::redirect(tx, account, (id, heir), now).await?;
        bots::redirect(tx, account, (id, heir), now).await?;
    }
    unanswered::arm_team(tx, account, id, now).await?;
    history::team(tx, account, id, now).await?;
    if taken.limit_lifted {
        slots::restart_counts(tx, account, id).await?;
        history::agents(tx, account, (Some(id), None), true, now).await?;
    }
    feed::board_changed(tx, account, id, now).await?;
    if taken.visibility_changed || moves {
        feed::scope_changed(tx, account, None, now).await?;
    }
    Ok(vec![(account, id)])
}

/// Somebody joined a team or left it, or leads it now or no more. What he held there goes to the queue when he left. His row is locked
/// by the caller: a deactivation locks every slot that its user has, and none may come to be beside it, to be filled after it has looked.
pub async fn membership_changed(
    tx: &mut Tx,
    (account, team, user): (Uuid, Uuid, Uuid),
    version: i64,
    (member, lead): (bool, bool),
    now: Timestamp,
) -> Result<Vec<Team>, Error> {
    teams::lock(tx, account, team).await?;
    let Some(was) = slots::set_member(tx, account, (team, user), version, (member, lead)).await? else {
        return Ok(Vec::new());
    };
    // The mark of a lead changes nothing of what he has had: only who comes in starts anew.
    if member && !was {
        slots::start_at_minimum(tx, account, user, Some(team)).await?;
    } else if !member {
        take_away(tx, account, user, Some(team), Cause::HolderRemoved, now).await?;
    }
    history::agents(tx, account, (Some(team), Some(user)), false, now).await?;
    feed::board_changed(tx, account, team, now).await?;
    feed::scope_changed(tx, account, Some(user), now).await?;
    Ok(vec![(account, team)])
}

/// A user is new or has changed. Whoever was deactivated is OFFLINE at once, and what he held goes to the queues.
pub async fn user_changed(
    tx: &mut Tx,
    (account, user, version): (Uuid, Uuid, i64),
    (role, active): (i16, bool),
    now: Timestamp,
) -> Result<Vec<Team>, Error> {
    if !users::upsert(tx, account, user, version, role, active).await? {
        return Ok(Vec::new());
    }
    let teams = slots::lock_of_user(tx, account, user).await?;
    if !active {
        presence::cut_off(tx, account, user, now).await?;
        take_away(tx, account, user, None, Cause::HolderDeactivated, now).await?;
    }
    history::agents(tx, account, (None, Some(user)), false, now).await?;
    feed::scope_changed(tx, account, Some(user), now).await?;
    Ok(teams.into_iter().map(|team| (account, team)).collect())
}

/// Puts what a user holds into the queues and frees his slots, which the caller has locked.
async fn take_away(
    tx: &mut Tx,
    account: Uuid,
    user: Uuid,
    team: Option<Uuid>,
    cause: Cause,
    now: Timestamp,
) -> Result<(), Error> {
    let taken = conversations::take_away(tx, account, user, team, now).await?;
    let mut freed: BTreeMap<Uuid, i32> = BTreeMap::new();
    for (_, team, _) in taken.iter().filter(|(_, _, state)| *state == State::Open) {
        *freed.entry(*team).or_default() += 1;
    }
    for (team, count) in freed {
        slots::add_open(tx, account, team, user, -count).await?;
    }
    let changed: Vec<_> = taken
        .into_iter()
        .map(|(id, team, state)| Changed::from(id, Some(Facts { state, team, holder: Some(user) })))
        .collect();
    if !changed.is_empty() {
        record(tx, account, Why::of(cause), &changed, now).await?;
    }
    Ok(())
}
