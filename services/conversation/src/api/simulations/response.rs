//! What a simulation has to say, for the protocol.

use std::time::Duration;

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1::{
    SimulateRoutingResponse, SimulatedAgent, SimulatedDifference, SimulatedDifferences, SimulationFigures,
    SimulationProgress, SimulationResult, simulate_routing_response::Word,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::simulation::{Difference, Figures, Outcome};

/// Differences of one response.
const CHUNK: usize = 200;

/// How far it is.
pub fn progress(
    team: Uuid,
    (done, total): (usize, usize),
    until: Timestamp,
    decisions: i64,
) -> SimulateRoutingResponse {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    SimulateRoutingResponse {
        word: Some(Word::Progress(SimulationProgress {
            team_id: team.to_string(),
            teams_done: count(done),
            teams_total: count(total),
            replayed_until: Some(to_proto(until)),
            decisions,
        })),
    }
}

/// What would have gone otherwise in a team, and then its result.
pub fn of_team(team: Uuid, outcome: &Outcome) -> Vec<SimulateRoutingResponse> {
    let mut words: Vec<Word> = outcome
        .differences
        .chunks(CHUNK)
        .map(|chunk| {
            let differences = chunk.iter().map(difference).collect();
            Word::Differences(SimulatedDifferences { team_id: team.to_string(), differences })
        })
        .collect();
    words.push(Word::Result(result(team, outcome)));
    words.into_iter().map(|word| SimulateRoutingResponse { word: Some(word) }).collect()
}

fn difference(difference: &Difference) -> SimulatedDifference {
    let user = |got: Option<(Uuid, Timestamp, bool)>| got.map(|got| got.0.to_string()).unwrap_or_default();
    let time = |got: Option<(Uuid, Timestamp, bool)>| got.map(|got| to_proto(got.1));
    SimulatedDifference {
        conversation_id: difference.conversation.to_string(),
        waiting_since: Some(to_proto(difference.since)),
        decision_id: difference.decision.map(|id| id.to_string()).unwrap_or_default(),
        recorded_user_id: user(difference.recorded),
        recorded_at: time(difference.recorded),
        recorded_by_hand: difference.recorded.is_some_and(|got| got.2),
        simulated_user_id: user(difference.simulated),
        simulated_at: time(difference.simulated),
        simulated_by_hand: difference.simulated.is_some_and(|got| got.2),
    }
}

fn result(team: Uuid, outcome: &Outcome) -> SimulationResult {
    let (recorded, simulated) = (outcome.recorded.assignments, outcome.simulated.assignments);
    let agents = outcome.agents.iter().map(|(user, got)| SimulatedAgent {
        user_id: user.to_string(),
        recorded: got.recorded,
        recorded_share: share(got.recorded, recorded),
        simulated: got.simulated,
        simulated_share: share(got.simulated, simulated),
    });
    SimulationResult {
        team_id: team.to_string(),
        decisions: outcome.decisions,
        reproduced: outcome.reproduced,
        different: i64::try_from(outcome.differences.len()).unwrap_or(i64::MAX),
        recorded: Some(figures(&outcome.recorded)),
        simulated: Some(figures(&outcome.simulated)),
        agents: agents.collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of what happened in a month is exact enough")]
fn share(part: i64, all: i64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

fn figures(figures: &Figures) -> SimulationFigures {
    SimulationFigures {
        assignments: figures.assignments,
        by_hand: figures.by_hand,
        wait_p50: figures.wait(50).map(duration),
        wait_p90: figures.wait(90).map(duration),
        wait_max: figures.wait(100).map(duration),
        waiting: figures.waiting,
    }
}

fn duration(wait: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(wait.subsec_nanos()).unwrap_or_default(),
    }
}
