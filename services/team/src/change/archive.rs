//! Archiving teams and bringing them back.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    memberships::join_one,
    teams::{announce, name_taken},
};
use crate::{
    domain::Team,
    error::Error,
    store::{accounts, archive, teams},
};

/// Archives a team in favour of `receiving`; returns it, and how many members joined that one because they were left without one. Who is
/// deactivated joins it too, unseen: when he comes back, the one that received stands in the place of his.
///
/// Every user keeps an active team: the lock of the team keeps others from joining it, and the locks of its members keep them from
/// leaving their other ones, until those who are left without one have joined `receiving`.
pub(crate) async fn archive(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
    receiving: Uuid,
    now: Timestamp,
) -> Result<(Team, usize), Error> {
    let naming = archive::naming(tx, account, id).await?;
    archive::lock_all(tx, account, &[naming.as_slice(), &[id, receiving]].concat()).await?;
    let team = teams::find(tx, account, id).await?.ok_or(Error::TeamNotFound(id))?;
    if !archive::has_other(tx, account, id).await? {
        return Err(Error::LastTeam);
    }
    let heir = teams::find(tx, account, receiving).await?.filter(|heir| heir.id != id);
    let heir = heir.ok_or(Error::TeamNotFound(receiving))?;
    let fallback = team.fallback;
    let archived = Team { archived: Some((now, Some(receiving))), fallback: false, version: team.version + 1, ..team };
    teams::save(tx, &archived).await?;
    // Before it is told that the team is archived: whoever moves its conversations then knows who belongs to the receiving one, and keeps his.
    let (mut joined, leaving) = (0, archive::leaving(tx, account, id).await?);
    for (user, stranded) in leaving {
        join_one(tx, account, receiving, user, now).await?;
        joined += usize::from(stranded);
    }
    announce(tx, &archived, now).await?;
    if fallback {
        keep(tx, &Team { fallback, version: heir.version + 1, ..heir }, now).await?;
    }
    // Asked again under the locks: who began to name the team meanwhile held it, and has committed.
    for other in archive::naming(tx, account, id).await? {
        rename(tx, account, other, id, receiving, now).await?;
    }
    Ok((archived, joined))
}

/// Brings an archived team back, under `name` if that is given. Its hours count by the account's time zone: see [`super::hours::set_hours`].
pub(crate) async fn unarchive(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
    name: Option<String>,
    now: Timestamp,
) -> Result<Team, Error> {
    accounts::hold(tx, account).await?;
    archive::lock_all(tx, account, &[id]).await?;
    let team = teams::find_archived(tx, account, &[id]).await?.pop().ok_or(Error::TeamNotFound(id))?;
    let mut team = Team { archived: None, version: team.version + 1, ..team };
    if let Some(name) = name {
        team.settings.name = name;
    }
    // What it showed may have been archived since.
    let shown = teams::hold(tx, account, &team.settings.wide_teams).await?;
    team.settings.wide_teams.retain(|other| shown.contains(other));
    teams::save(tx, &team).await.map_err(|error| name_taken(error, &team))?;
    announce(tx, &team, now).await?;
    Ok(team)
}

/// `other` names `receiving` from now on where it named `id`.
async fn rename(
    tx: &mut PgConnection,
    account: Uuid,
    other: Uuid,
    id: Uuid,
    receiving: Uuid,
    now: Timestamp,
) -> Result<(), Error> {
    let found = match teams::lock(tx, account, other).await? {
        Some(active) => Some(active),
        None => teams::find_archived(tx, account, &[other]).await?.pop(),
    };
    let Some(mut team) = found else { return Ok(()) };
    let wide = &mut team.settings.wide_teams;
    if let Some(place) = wide.iter().position(|shown| *shown == id) {
        wide.remove(place);
        if other != receiving {
            wide.push(receiving);
        }
        wide.sort();
        wide.dedup();
    }
    team.archived = team.archived.map(|(at, heir)| (at, if heir == Some(id) { Some(receiving) } else { heir }));
    team.version += 1;
    keep(tx, &team, now).await
}

async fn keep(tx: &mut PgConnection, team: &Team, now: Timestamp) -> Result<(), Error> {
    teams::save(tx, team).await?;
    announce(tx, team, now).await
}
