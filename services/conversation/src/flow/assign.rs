//! Automatic assignment: one batch of one team.

use std::time::Duration;

use diwan_runtime::{clock::after, ids};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Error,
    domain::{
        routing::decide,
        scope::Facts,
        state::{Cause, State},
    },
    store::{
        Tx, claim,
        decisions::{self, Ledger},
        hours, queue,
        record::{Changed, Why, record_known},
        slots, teams,
    },
};

/// The most conversations of one batch: large enough that one commit carries many, small enough that a batch of claims holds
/// no lock for long.
pub const BATCH: usize = 200;

/// Decides on what waits in a team's queue and makes the assignments. Returns how many; a full [`BATCH`] means that there may be
/// more.
///
/// Deciders of one team take turns by the team's lock, and nothing that makes an agent eligible changes under the locks of the
/// candidates' slots; everything else is checked by the claim.
pub async fn assign(tx: &mut Tx, account: Uuid, team_id: Uuid, now: Timestamp) -> Result<usize, Error> {
    let Some(team) = teams::lock(tx, account, team_id).await? else { return Ok(0) };
    // What waits goes to the team that has taken its place.
    if team.archived {
        return Ok(0);
    }
    let most = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let waiting = queue::waiting_for_candidates(tx, account, team_id, most).await?;
    // Outside its hours a team's queue waits. The lock keeps the hours as they are.
    if waiting.is_empty() || !(team.always_open || hours::is_open(tx, account, team_id, now).await?) {
        return Ok(0);
    }
    let agents = slots::agents(tx, account, team_id, None).await?;
    // The clocks of replicas differ, and this time was read before the locks: by the order of their times, which decides between
    // equals, each batch comes after the one before it.
    let latest = agents.iter().filter_map(|agent| agent.last).max();
    let now = latest.map_or(now, |latest| now.max(after(latest, Duration::from_micros(1))));
    let decision = decide(team.limit, &agents, &waiting, now);
    if decision.assignments.is_empty() {
        return Ok(0);
    }
    let taken = claim::claim(tx, account, team_id, &decision.assignments).await?;
    let id = ids::new_id();
    decisions::insert(tx, account, (id, team_id, team), Ledger::Batch(&decision, &agents, &waiting), now).await?;
    let before = Some(Facts { state: State::Queued, team: team_id, holder: None });
    let changed: Vec<_> = decision.assignments.iter().map(|made| Changed::from(made.conversation, before)).collect();
    let why = Why { cause: Cause::Automatic, actor: None, decision: Some(id) };
    record_known(tx, account, why, (&changed, taken), now).await?;
    Ok(changed.len())
}
