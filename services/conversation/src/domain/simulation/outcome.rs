//! What a replay led to.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Episode, Recorded,
    replay::{Course, Hold},
};

/// Who got the same at times less apart than this got it at the same time: a simulated routing is not exact to the millisecond.
const SAME: Duration = Duration::from_secs(1);

/// Figures of one course of things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What was given out automatically.
    pub assignments: i64,
    /// What was taken or given by hand.
    pub by_hand: i64,
    /// The waits of what was given out automatically, the shortest first.
    pub waits: Vec<Duration>,
    /// What waits at the end.
    pub waiting: i64,
}

impl Figures {
    /// The wait that so many of a hundred did not exceed. `None`: nothing was given out.
    pub fn wait(&self, percent: usize) -> Option<Duration> {
        let rank = (self.waits.len() * percent).div_ceil(100).saturating_sub(1);
        self.waits.get(rank).copied()
    }
}

/// A conversation that would have gone otherwise.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The conversation.
    pub conversation: Uuid,
    /// Since when it waited.
    pub since: Timestamp,
    /// The decision that gave it out.
    pub decision: Option<Uuid>,
    /// Who got it, when, and whether by hand.
    pub recorded: Option<(Uuid, Timestamp, bool)>,
    /// Who would have.
    pub simulated: Option<(Uuid, Timestamp, bool)>,
}

/// Automatic assignments of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that happened.
    pub recorded: i64,
    /// Those that would have.
    pub simulated: i64,
}

/// What a replay led to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Recorded decisions of the period.
    pub decisions: i64,
    /// Those that came out the same.
    pub reproduced: i64,
    /// What happened.
    pub recorded: Figures,
    /// What would have happened.
    pub simulated: Figures,
    /// By agent.
    pub agents: BTreeMap<Uuid, Share>,
    /// What would have gone otherwise, by the time it came.
    pub differences: Vec<Difference>,
}

pub fn of(
    episodes: &[Episode],
    course: &Course,
    (from, to): (Timestamp, Timestamp),
    (decisions, reproduced): (i64, i64),
) -> Outcome {
    let mut outcome = Outcome { decisions, reproduced, ..Outcome::default() };
    for (index, episode) in episodes.iter().enumerate() {
        let within = |got: &(Uuid, Timestamp, bool)| from <= got.1 && got.1 < to;
        let before = |got: &(Uuid, Timestamp, bool)| got.1 < from;
        let (recorded, simulated) =
            (episode.got(), course.got(index).map(|Hold { user, at, by_hand }| (user, at, by_hand)));
        if matches!(episode.recorded, Recorded::Held { .. }) || recorded.as_ref().is_some_and(before) {
            continue;
        }
        let (recorded, simulated) = (recorded.filter(within), simulated.filter(within));
        outcome.recorded.add(episode, recorded);
        outcome.simulated.add(episode, simulated);
        let left = matches!(episode.recorded, Recorded::Left(at) if at < to);
        outcome.recorded.waiting += i64::from(recorded.is_none() && !left && episode.enters < to);
        outcome.simulated.waiting += i64::from(course.waits(index));
        let automatic = |got: Option<(Uuid, Timestamp, bool)>| got.filter(|got| !got.2).map(|got| got.0);
        if let Some(user) = automatic(recorded) {
            outcome.agents.entry(user).or_default().recorded += 1;
        }
        if let Some(user) = automatic(simulated) {
            outcome.agents.entry(user).or_default().simulated += 1;
        }
        if !is_same(recorded, simulated) {
            let decision = match episode.recorded {
                Recorded::Given { decision, .. } if recorded.is_some() => Some(decision),
                _ => None,
            };
            let (conversation, since) = (episode.conversation, episode.since);
            outcome.differences.push(Difference { conversation, since, decision, recorded, simulated });
        }
    }
    outcome.recorded.waits.sort_unstable();
    outcome.simulated.waits.sort_unstable();
    outcome.differences.sort_by_key(|difference| (difference.since, difference.conversation));
    outcome
}

impl Figures {
    fn add(&mut self, episode: &Episode, got: Option<(Uuid, Timestamp, bool)>) {
        match got {
            None => {}
            Some((_, _, true)) => self.by_hand += 1,
            Some((_, at, false)) => {
                self.assignments += 1;
                self.waits.push(Duration::try_from(at.duration_since(episode.since)).unwrap_or_default());
            }
        }
    }
}

fn is_same(one: Option<(Uuid, Timestamp, bool)>, other: Option<(Uuid, Timestamp, bool)>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some((user, at, by_hand)), Some((other, then, his))) => {
            user == other && by_hand == his && at.duration_since(then).unsigned_abs() <= SAME
        }
        _ => false,
    }
}
