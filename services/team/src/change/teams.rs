//! Changes of teams.

use diwan_fault::Language;
use diwan_runtime::ids;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    change::memberships,
    domain::{AutomaticReply, Changes, Settings, Team, Visibility, fallback_name},
    encode::team_changed,
    error::Error,
    store::{accounts, members, teams},
};

/// Makes a team.
pub(crate) async fn create(
    tx: &mut PgConnection,
    account: Uuid,
    settings: Settings,
    now: Timestamp,
) -> Result<Team, Error> {
    let zone = accounts::zone(tx, account).await?;
    let team = Team::new((account, zone), ids::new_id(), settings, false, now);
    require_active(tx, account, &team.settings.wide_teams).await?;
    let inserted = teams::insert(tx, &team).await;
    inserted.map_err(|error| name_taken(error, &team))?;
    announce(tx, &team, now).await?;
    Ok(team)
}

/// Changes the settings of a team.
pub(crate) async fn update(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
    changes: &Changes,
    now: Timestamp,
) -> Result<Team, Error> {
    let team = teams::lock(tx, account, id).await?.ok_or(Error::TeamNotFound(id))?.changed(changes);
    if changes.wide_teams.is_some() {
        require_active(tx, account, &team.settings.wide_teams).await?;
    }
    teams::save(tx, &team).await.map_err(|error| name_taken(error, &team))?;
    announce(tx, &team, now).await?;
    Ok(team)
}

/// The account's fallback team, made if there is none. The owner joins it if he is not known yet: a late repetition does
/// not bring him back into a team that he has left.
///
/// Of those who call at once for one owner, one makes the team: the others wait at the owner's row until it is there. The
/// unique index `teams_one_fallback` holds whatever happens.
pub(crate) async fn ensure_fallback(
    tx: &mut PgConnection,
    account: Uuid,
    owner: Uuid,
    language: Language,
    now: Timestamp,
) -> Result<Team, Error> {
    let new_owner = members::insert(tx, account, owner, now).await?;
    let settings = Settings {
        name: fallback_name(language).to_owned(),
        assignment_limit: 0,
        topic_mandatory: false,
        visibility: Visibility::default(),
        wide_teams: Vec::new(),
        sticky_owner: false,
        wait_alert_seconds: 0,
        no_answer_after_minutes: 0,
        reassign_when_offline: false,
        automatic_reply: AutomaticReply::default(),
    };
    let zone = accounts::zone(tx, account).await?;
    let team = Team::new((account, zone), ids::new_id(), settings, true, now);
    if teams::insert(tx, &team).await.map_err(|error| name_taken(error, &team))? {
        announce(tx, &team, now).await?;
    }
    let team = teams::find_fallback(tx, account).await?.ok_or(Error::FallbackNotFound)?;
    if new_owner {
        let held = memberships::hold_fallback(tx, account).await?;
        memberships::join_one(tx, account, held, owner, now).await?;
    }
    Ok(team)
}

async fn require_active(tx: &mut PgConnection, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    let active = teams::hold(tx, account, ids).await?;
    match ids.iter().find(|id| !active.contains(id)) {
        Some(missing) => Err(Error::TeamNotFound(*missing)),
        None => Ok(()),
    }
}

pub(super) async fn announce(tx: &mut PgConnection, team: &Team, now: Timestamp) -> Result<(), Error> {
    Ok(diwan_feed::append(tx, team.account, now, &[team_changed(team)]).await?)
}

pub(super) fn name_taken(error: diwan_store::Error, team: &Team) -> Error {
    if error.is_unique_violation(teams::NAME_INDEX) {
        Error::TeamNameTaken(team.settings.name.clone())
    } else {
        error.into()
    }
}
