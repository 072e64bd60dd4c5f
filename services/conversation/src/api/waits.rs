//! Why a conversation waits now: what the routing would decide, by its own functions, on what is true at this moment.

use diwan_fault::text;
use diwan_feed::time::to_proto;
use diwan_hours::Hours;
use diwan_proto::conversation::v1::{DecisionKind, RoutingDecision, RoutingWait, WaitReason};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::explained::{Reader, count, shown_candidates};
use crate::{
    Error,
    domain::{
        explanation::{Reason, Turn, Wait, why_waiting},
        give_back::give_back,
        routing::{Agent, Decision, Waiting, decide},
        state::State,
    },
    flow::assign::BATCH,
    store::{
        conversations::Conversation,
        hours, queue, slots,
        teams::{self, Team},
    },
};

/// What the routing sees of a team now.
struct Sight {
    id: Uuid,
    team: Team,
    hours: Option<(Hours, String)>,
    open: bool,
    agents: Vec<Agent>,
    decision: Decision,
    left: usize,
    /// Who has had this conversation and did not answer.
    asked: Vec<Uuid>,
}

/// Why it waits; `None`: it does not. Within one snapshot.
pub async fn why(
    tx: &mut PgConnection,
    account: Uuid,
    found: &Conversation,
    reader: &Reader,
    now: Timestamp,
) -> Result<Option<RoutingWait>, Error> {
    let since = match (found.state()?, found.queued_at) {
        (State::Queued, Some(since)) => since.to_jiff(),
        (State::Bot, _) => return Ok(Some(short(WaitReason::WithBot, "WAITS_WITH_BOT", found.created_at.to_jiff()))),
        _ => return Ok(None),
    };
    let Some(team) = teams::find(tx, account, found.team_id).await? else {
        return Ok(Some(short(WaitReason::TeamUnknown, "WAITS_TEAM_UNKNOWN", since)));
    };
    if team.archived {
        return Ok(Some(short(WaitReason::TeamArchived, "WAITS_TEAM_ARCHIVED", since)));
    }
    let of = Waiting {
        conversation: found.id,
        version: found.version,
        priority: found.priority()?,
        queued_at: since,
        asked: Vec::new(),
    };
    let ahead = queue::ahead(&mut *tx, account, found.team_id, &of).await?;
    let sight = look(tx, account, (found.team_id, team), found.id, now).await?;
    let given = sight.decision.assignments.iter().any(|made| made.conversation == found.id);
    let reason = why_waiting(sight.open, &sight.agents, &sight.decision, given);
    let opens_at = sight.hours.as_ref().filter(|_| !sight.open).and_then(|(hours, _)| hours.next_opening(now));
    Ok(Some(RoutingWait {
        reason: encode(reason).into(),
        text: sentence(reason, &sight, opens_at, ahead),
        opens_at: opens_at.map(to_proto),
        position: i32::try_from(ahead + 1).unwrap_or(i32::MAX),
        waiting_since: Some(to_proto(since)),
        decision: Some(shown(reader, sight, found.id, now)),
    }))
}

/// As `flow::assign` looks, without its locks: nothing is decided here.
async fn look(
    tx: &mut PgConnection,
    account: Uuid,
    (id, team): (Uuid, Team),
    conversation: Uuid,
    now: Timestamp,
) -> Result<Sight, Error> {
    let waiting = queue::waiting(tx, account, id, i64::try_from(BATCH).unwrap_or(i64::MAX)).await?;
    let hours = hours::find(tx, account, id).await?;
    let open = hours.as_ref().is_none_or(|(hours, _)| hours.is_open(now));
    let agents = slots::agents(tx, account, id, None).await?;
    let head = if open { waiting.as_slice() } else { &[] };
    let decision = decide(team.limit, &agents, head, now);
    let left = waiting.len() - decision.assignments.len();
    let asked = waiting.into_iter().find(|waiting| waiting.conversation == conversation);
    let asked = asked.map(|waiting| waiting.asked).unwrap_or_default();
    Ok(Sight { id, team, hours, open, agents, decision, left, asked })
}

/// What it would decide now, as far as it concerns one conversation.
fn shown(reader: &Reader, sight: Sight, conversation: Uuid, now: Timestamp) -> RoutingDecision {
    let Sight { id, team, open, agents, decision, left, asked, .. } = sight;
    let made = decision.assignments.iter().position(|made| made.conversation == conversation);
    let before = &decision.assignments[..made.unwrap_or(decision.assignments.len())];
    let mut at_turn = agents;
    for made in before {
        if let Some(agent) = at_turn.iter_mut().find(|agent| agent.user == made.user) {
            agent.assign(made.at, made.counts);
        }
    }
    let chosen = made.map(|place| decision.assignments[place].user);
    let candidate_count = count(at_turn.len());
    let candidates = if open {
        let found = at_turn.iter().find(|agent| Some(agent.user) == chosen).cloned();
        Turn { limit: team.limit, chosen: found.as_ref(), asked: &asked }.in_order(at_turn)
    } else {
        at_turn.into_iter().map(|agent| closed(conversation, &team, agent)).collect()
    };
    RoutingDecision {
        id: String::new(),
        kind: DecisionKind::Batch.into(),
        decided_at: Some(to_proto(now)),
        team_id: id.to_string(),
        team_version: team.version,
        assignment_limit: team.limit.unwrap_or_default(),
        in_hours: open,
        place: made.map_or(0, |place| count(place + 1)),
        left_waiting: count(left),
        candidate_count,
        candidates: shown_candidates(reader, id, (team.limit, chosen), candidates),
        chosen_user_id: chosen.map(|user| user.to_string()).unwrap_or_default(),
    }
}

/// What hinders a member of a team that is closed.
fn closed(conversation: Uuid, team: &Team, agent: Agent) -> (Agent, Option<Reason>) {
    let decided = give_back((conversation, agent.user), (team.limit, false), Some(agent.clone()));
    (agent, decided.passed_over.map(Reason::Hindered))
}

fn sentence(reason: Wait, sight: &Sight, opens_at: Option<Timestamp>, ahead: i64) -> String {
    let limit = ("limit", sight.team.limit.unwrap_or_default().to_string());
    match (reason, opens_at.zip(sight.hours.as_ref())) {
        (Wait::OutOfHours, Some((at, (_, zone)))) => text("WAITS_UNTIL_OPEN", &[("at", wall(at, zone))]),
        _ => text(reason.text(), &[limit, ("ahead", ahead.to_string())]),
    }
}

/// A time by the clock of the team, with the zone's name: readable in every language.
fn wall(at: Timestamp, zone: &str) -> String {
    at.in_tz(zone).map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M %Q").to_string())
}

fn encode(reason: Wait) -> WaitReason {
    match reason {
        Wait::NoMembers => WaitReason::NoMembers,
        Wait::OutOfHours => WaitReason::OutOfHours,
        Wait::NobodyActive => WaitReason::NobodyActive,
        Wait::AllAtLimit => WaitReason::AllAtLimit,
        Wait::BehindOthers => WaitReason::BehindOthers,
        Wait::Due => WaitReason::Due,
    }
}

fn short(reason: WaitReason, key: &str, since: Timestamp) -> RoutingWait {
    RoutingWait {
        reason: reason.into(),
        text: text(key, &[]),
        waiting_since: Some(to_proto(since)),
        ..RoutingWait::default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_waits_for_something_else_than_the_routing_has_its_texts() {
        for key in ["WAITS_TEAM_UNKNOWN", "WAITS_TEAM_ARCHIVED", "WAITS_WITH_BOT", "WAITS_UNTIL_OPEN"] {
            assert!(diwan_fault::has_texts(key), "{key}");
        }
    }
}
