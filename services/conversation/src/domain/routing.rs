//! Automatic assignment: who of a team gets which of the waiting conversations. Pure, so that a decision can be replayed
//! from the ledger: the same input gives the same output.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use diwan_runtime::clock::after;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::state::{Availability, Priority};

/// A member of the team, as the routing sees him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The user.
    pub user: Uuid,
    /// Whether his access is not cut.
    pub enabled: bool,
    /// Whether he is there.
    pub availability: Availability,
    /// OPEN conversations of this team that he holds.
    pub open: i32,
    /// Automatic assignments in this team, as fairness counts them.
    pub automatic: i64,
    /// When he got the last one that fairness counts.
    pub last: Option<Timestamp>,
}

impl Agent {
    /// He gets one automatically; `counts`: for fairness.
    pub fn assign(&mut self, at: Timestamp, counts: bool) {
        self.open += 1;
        if counts {
            self.automatic += 1;
            self.last = Some(at);
        }
    }
}

/// A conversation in the team's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The conversation.
    pub conversation: Uuid,
    /// Its version when it was read.
    pub version: i64,
    /// How urgent it is.
    pub priority: Priority,
    /// Since when it waits.
    pub queued_at: Timestamp,
    /// Who had it since its customer waits and did not answer, the first of them first.
    pub asked: Vec<Uuid>,
}

/// A place in a queue; the least goes first.
pub type Place = (Reverse<Priority>, Timestamp, Uuid);

impl Waiting {
    /// Its place in the queue, the least first: the higher priority, then the longer wait. The order of every queue, which
    /// `store::queue` says in SQL.
    pub fn place(&self) -> Place {
        (Reverse(self.priority), self.queued_at, self.conversation)
    }
}

/// One conversation to one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The conversation.
    pub conversation: Uuid,
    /// The version of it that this was decided on.
    pub version: i64,
    /// The agent.
    pub user: Uuid,
    /// Whether fairness counts it. What others did not answer does not: whoever stands in for them gets no fewer new ones for it, and
    /// nobody's turn comes sooner or later.
    pub counts: bool,
    /// When he got it. The assignments of one batch are a microsecond apart, so that "oldest last assignment" knows their order.
    pub at: Timestamp,
    /// When he has got his last one that counts, this one included.
    pub last: Option<Timestamp>,
}

/// Why a member was not a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PassedOver {
    /// His access is cut.
    Deactivated,
    /// No live session.
    Offline,
    /// He takes by hand only.
    Watching,
    /// At the limit.
    Full,
    /// No member of the team: only who is asked for by name can be none.
    NotMember,
    /// The team is closed: only who is asked for by name is looked at then.
    OutOfHours,
}

/// What was decided, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The team's limit; `None`: no limit.
    pub limit: Option<i32>,
    /// Who could get one, as he stood before.
    pub candidates: Vec<Agent>,
    /// Who could not, and why.
    pub passed_over: Vec<(Uuid, PassedOver)>,
    /// Who got what, in this order.
    pub assignments: Vec<Assignment>,
}

/// How loaded somebody is; the least goes first.
pub type Load = (i64, Option<Timestamp>, Uuid);

/// Gives the waiting conversations, in the order of the queue, to the eligible agents: with a limit to whoever uses the lowest share of
/// it, without one to whoever has had the fewest, then to whose last assignment is oldest (never is oldest of all).
///
/// Nobody gets above the limit. What nobody can take stays in the queue. What somebody did not answer goes to whoever of the others holds
/// the fewest, and to him again only where nobody else can take it.
pub fn decide(limit: Option<i32>, agents: &[Agent], waiting: &[Waiting], now: Timestamp) -> Decision {
    let mut candidates = Vec::new();
    let mut passed_over = Vec::new();
    for agent in agents {
        match hindrance(limit, agent) {
            None => candidates.push(agent.clone()),
            Some(reason) => passed_over.push((agent.user, reason)),
        }
    }
    let assignments = assign(limit, &candidates, waiting, now);
    Decision { limit, candidates, passed_over, assignments }
}

/// Why `agent` can get nothing automatically now, if so.
pub fn hindrance(limit: Option<i32>, agent: &Agent) -> Option<PassedOver> {
    match agent.availability {
        _ if !agent.enabled => Some(PassedOver::Deactivated),
        Availability::Offline => Some(PassedOver::Offline),
        Availability::Watching => Some(PassedOver::Watching),
        Availability::Active => limit.is_some_and(|limit| agent.open >= limit).then_some(PassedOver::Full),
    }
}

fn assign(limit: Option<i32>, candidates: &[Agent], waiting: &[Waiting], now: Timestamp) -> Vec<Assignment> {
    let mut queue: Vec<&Waiting> = waiting.iter().collect();
    queue.sort_by_key(|waiting| waiting.place());
    let mut ready: BTreeSet<(Load, usize)> =
        candidates.iter().enumerate().map(|(index, agent)| (load(limit, true, agent), index)).collect();
    let mut agents = candidates.to_vec();
    let mut assignments = Vec::with_capacity(queue.len());
    for (place, waiting) in (0_u64..).zip(queue) {
        let counts = waiting.asked.is_empty();
        let mut free = ready.iter().map(|(_, index)| *index);
        let chosen = if counts { free.next() } else { stand_in(limit, &agents, free, &waiting.asked) };
        let Some(index) = chosen else { break };
        let at = after(now, Duration::from_micros(place));
        let agent = &mut agents[index];
        ready.remove(&(load(limit, true, agent), index));
        agent.assign(at, counts);
        let Waiting { conversation, version, .. } = *waiting;
        assignments.push(Assignment { conversation, version, user: agent.user, counts, at, last: agent.last });
        if hindrance(limit, agent).is_none() {
            ready.insert((load(limit, true, agent), index));
        }
    }
    assignments
}

/// Whoever of the free ones stands in for those who did not answer: the least loaded who has not been asked; where all have been, the one
/// of them whom it was longest ago.
fn stand_in(limit: Option<i32>, agents: &[Agent], free: impl Iterator<Item = usize>, asked: &[Uuid]) -> Option<usize> {
    let when = |agent: &Agent| asked.iter().position(|user| *user == agent.user);
    free.min_by_key(|index| (when(&agents[*index]), load(limit, false, &agents[*index])))
}

/// How loaded he is. One team has one limit, so the lowest share of it is the lowest count. What fairness does not count goes by what each
/// holds, with or without a limit.
pub fn load(limit: Option<i32>, counts: bool, agent: &Agent) -> Load {
    let load = if counts && limit.is_none() { agent.automatic } else { i64::from(agent.open) };
    (load, agent.last, agent.user)
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
