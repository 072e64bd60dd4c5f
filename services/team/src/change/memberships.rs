//! Changes of memberships.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::Membership,
    encode::membership_changed,
    error::Error,
    store::{members, memberships, teams, user_states},
};

/// Makes a known user a member of a team.
pub(crate) async fn add(
    tx: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<Membership, Error> {
    if teams::hold(tx, account, &[team]).await?.is_empty() {
        return Err(Error::TeamNotFound(team));
    }
    if !members::exists(tx, account, user).await? {
        return Err(Error::UserNotFound(user));
    }
    if user_states::is_deactivated(tx, account, user).await? {
        return Err(Error::UserDeactivated);
    }
    join_one(tx, account, team, user, now).await
}

/// Takes a user out of a team, unless it is his last one.
///
/// Nobody is left without a team: whoever takes a user out of one holds the lock of his row in `members`, so the second
/// of two sees what the first has done.
pub(crate) async fn remove(
    tx: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<(), Error> {
    teams::find(tx, account, team).await?.ok_or(Error::TeamNotFound(team))?;
    if !members::lock(tx, account, user).await? {
        return Err(Error::UserNotFound(user));
    }
    let Some(left) = memberships::leave(tx, account, team, user, now).await? else { return Ok(()) };
    if !memberships::has_any(tx, account, user).await? {
        return Err(Error::LastMembership);
    }
    Ok(diwan_feed::append(tx, account, now, &[membership_changed(&left, false)]).await?)
}

/// Gives a member the mark of a lead, or takes it from him. Who is deactivated can only lose it.
///
/// A team that is archived meanwhile waits: its row is held. The mark and the membership are one row, so that whoever leaves at the same
/// moment leaves without it.
pub(crate) async fn set_lead(
    tx: &mut PgConnection,
    account: Uuid,
    (team, user): (Uuid, Uuid),
    lead: bool,
    now: Timestamp,
) -> Result<Membership, Error> {
    if teams::hold(tx, account, &[team]).await?.is_empty() {
        return Err(Error::TeamNotFound(team));
    }
    if lead && user_states::is_deactivated(tx, account, user).await? {
        return Err(Error::UserDeactivated);
    }
    let Some(marked) = memberships::set_lead(tx, account, team, user, lead).await? else {
        return memberships::find(tx, account, team, user).await?.ok_or(Error::UserNotFound(user));
    };
    diwan_feed::append(tx, account, now, &[membership_changed(&marked, true)]).await?;
    Ok(marked)
}

/// Makes a user known, and a member of these teams. The place of an archived one is taken by the one that received it, that of an
/// unknown one by the fallback team. Who is known has joined: a late repetition does not bring him back into a team that he has left.
pub(crate) async fn join(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    wanted: &[Uuid],
    now: Timestamp,
) -> Result<Vec<Membership>, Error> {
    if !members::insert(tx, account, user, now).await? {
        return Ok(memberships::of_user(tx, account, user).await?);
    }
    let mut joined = Vec::new();
    for team in active_or_fallback(tx, account, wanted).await? {
        joined.push(join_one(tx, account, team, user, now).await?);
    }
    Ok(joined)
}

/// In the order of their ids, so that two who join the same teams do not wait for each other.
async fn active_or_fallback(tx: &mut PgConnection, account: Uuid, wanted: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    let mut active = teams::hold(tx, account, wanted).await?;
    let archived = teams::find_archived(tx, account, wanted).await?;
    let unknown = |team: &Uuid| !active.contains(team) && !archived.iter().any(|known| known.id == *team);
    let unknown = wanted.iter().any(unknown);
    let heirs: Vec<Uuid> = archived.iter().filter_map(|team| team.archived?.1).collect();
    active.extend(teams::hold(tx, account, &heirs).await?);
    if unknown || active.is_empty() {
        active.push(hold_fallback(tx, account).await?);
    }
    active.sort();
    active.dedup();
    Ok(active)
}

/// The fallback team, held. Where it has been archived meanwhile, another one is it by now.
pub(super) async fn hold_fallback(tx: &mut PgConnection, account: Uuid) -> Result<Uuid, Error> {
    loop {
        let fallback = teams::find_fallback(tx, account).await?.ok_or(Error::FallbackNotFound)?.id;
        if !teams::hold(tx, account, &[fallback]).await?.is_empty() {
            return Ok(fallback);
        }
    }
}

pub(super) async fn join_one(
    tx: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<Membership, Error> {
    if let Some(joined) = memberships::join(tx, account, team, user, now).await? {
        diwan_feed::append(tx, account, now, &[membership_changed(&joined, true)]).await?;
        return Ok(joined);
    }
    // He was a member when the statement above looked at the row.
    let found = memberships::find(tx, account, team, user).await?;
    found.ok_or_else(|| diwan_store::Error::from(sqlx::Error::RowNotFound).into())
}
