//! Changes of working hours.

use diwan_hours::Schedule;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::teams::announce;
use crate::{
    domain::Team,
    error::Error,
    store::{accounts, teams},
};

/// Sets the working hours of a team; `None`: it is always open.
///
/// The event names the zone that the account has: whoever sets hours holds the account, so that a change of its zone finds either
/// no such hours yet and is read here, or the hours, and tells of the team again.
pub(crate) async fn set_hours(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
    hours: Option<Schedule>,
    now: Timestamp,
) -> Result<Team, Error> {
    accounts::hold(tx, account).await?;
    let team = teams::lock(tx, account, id).await?.ok_or(Error::TeamNotFound(id))?;
    let team = Team { hours, version: team.version + 1, ..team };
    teams::save(tx, &team).await?;
    announce(tx, &team, now).await?;
    Ok(team)
}

/// The account is in this time zone now: tells of every team whose hours count by it. An older version changes nothing.
pub(crate) async fn move_zone(
    tx: &mut PgConnection,
    account: Uuid,
    zone: &str,
    version: i64,
    now: Timestamp,
) -> Result<(), Error> {
    if !accounts::set_zone(tx, account, zone, version).await? {
        return Ok(());
    }
    for id in teams::with_hours(tx, account).await? {
        // It was archived meanwhile where it is not found.
        let Some(team) = teams::lock(tx, account, id).await? else { continue };
        let team = Team { version: team.version + 1, ..team };
        teams::save(tx, &team).await?;
        announce(tx, &team, now).await?;
    }
    Ok(())
}
