//! A decision as it is kept: everything that it was made from, so that it can be made anew. Members and queue stand in columns of small
//! numbers, once for each decision; what each assignment adds is the index of who got it. See docs/decisions/ledger.md.

mod turn;

use jiff::{Timestamp, ToSpan as _};
use prost::Message;
use uuid::Uuid;

use super::{
    give_back::{Return, give_back},
    routing::{Agent, Assignment, Decision, Waiting, decide},
    state::{Availability, Priority},
};

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who of a team gets which of what waits.
    Batch,
    /// Whether one conversation goes back to one agent.
    Return,
}

impl Kind {
    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "BATCH",
            Self::Return => "RETURN",
        }
    }

    /// The kind of this name in the database.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Batch, Self::Return].into_iter().find(|kind| kind.name() == name)
    }
}

/// One decision, encoded as a message. Times are microseconds before it.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The team's limit; 0: none.
    #[prost(int32, tag = "1")]
    limit: i32,
    /// Whether the team was open.
    #[prost(bool, tag = "2")]
    open: bool,
    /// The members, 16 bytes each; of a return, the one agent.
    #[prost(bytes = "vec", tag = "3")]
    users: Vec<u8>,
    /// Of each member: bits of [`ENABLED`], [`HAD_ONE`], [`STRANGER`], and his availability.
    #[prost(uint32, repeated, tag = "4")]
    facts: Vec<u32>,
    /// Of each whose access is not cut and who is ACTIVE, as the next one is: his open count.
    #[prost(int32, repeated, tag = "5")]
    open_counts: Vec<i32>,
    /// The count of fairness.
    #[prost(int64, repeated, tag = "6")]
    automatic: Vec<i64>,
    /// Of each of these who ever had one: when it was.
    #[prost(sint64, repeated, tag = "7")]
    last: Vec<i64>,
    /// The head of the queue, in its order, 16 bytes each: what was given out, and the first that was left.
    #[prost(bytes = "vec", tag = "8")]
    conversations: Vec<u8>,
    /// Its versions.
    #[prost(int64, repeated, tag = "9")]
    versions: Vec<i64>,
    /// Its priorities.
    #[prost(uint32, repeated, tag = "10")]
    priorities: Vec<u32>,
    /// Since when it waited.
    #[prost(sint64, repeated, tag = "11")]
    queued: Vec<i64>,
    /// Who got each, as an index into the members.
    #[prost(uint32, repeated, tag = "12")]
    chosen: Vec<u32>,
    /// How many of those looked at were left.
    #[prost(uint32, tag = "13")]
    left: u32,
    /// Of each member who had one of the head and did not answer: which of the head, in its order.
    #[prost(uint32, repeated, tag = "14")]
    asked_of: Vec<u32>,
    /// And who he is, as an index into the members, or [`LEFT`].
    #[prost(uint32, repeated, tag = "15")]
    asked: Vec<u32>,
}

const AVAILABILITY: u32 = 3;
const ENABLED: u32 = 4;
const HAD_ONE: u32 = 8;
const STRANGER: u32 = 16;
/// In the place of an index into the members: he is none any more.
const LEFT: u32 = u32::MAX;

impl Entry {
    /// Of a batch that was decided at `now` from these.
    pub fn of_batch(decision: &Decision, agents: &[Agent], waiting: &[Waiting], now: Timestamp) -> Self {
        let mut entry = Self { limit: decision.limit.unwrap_or_default(), open: true, ..Self::default() };
        for agent in agents {
            entry.add(agent, now);
        }
        let mut queue: Vec<&Waiting> = waiting.iter().collect();
        queue.sort_by_key(|waiting| waiting.place());
        let index = |user: Uuid| agents.iter().position(|agent| agent.user == user);
        for (place, waiting) in queue.iter().take(decision.assignments.len() + 1).enumerate() {
            entry.conversations.extend(waiting.conversation.as_bytes());
            entry.versions.push(waiting.version);
            entry.priorities.push(u32::from(waiting.priority.level().unsigned_abs()));
            entry.queued.push(now.as_microsecond() - waiting.queued_at.as_microsecond());
            entry.asked.extend(waiting.asked.iter().map(|user| index(*user).map_or(LEFT, number)));
            entry.asked_of.resize(entry.asked.len(), number(place));
        }
        let chosen = |made: &Assignment| number(index(made.user).unwrap_or(usize::MAX));
        entry.chosen = decision.assignments.iter().map(chosen).collect();
        entry.left = number(queue.len() - decision.assignments.len());
        entry
    }

    /// Of an offer to one agent.
    pub fn of_return(decided: &Return, now: Timestamp) -> Self {
        let mut entry = Self { limit: decided.limit.unwrap_or_default(), open: decided.open, ..Self::default() };
        if let Some(agent) = &decided.candidate {
            entry.add(agent, now);
        } else {
            entry.users.extend(decided.agent.as_bytes());
            entry.facts.push(STRANGER);
        }
        entry.conversations.extend(decided.conversation.as_bytes());
        entry.chosen = decided.passed_over.is_none().then_some(0).into_iter().collect();
        entry.left = u32::from(decided.passed_over.is_some());
        entry
    }

    fn add(&mut self, agent: &Agent, now: Timestamp) {
        self.users.extend(agent.user.as_bytes());
        let availability = match agent.availability {
            Availability::Offline => 0,
            Availability::Watching => 1,
            Availability::Active => 2,
        };
        let counts = agent.enabled && agent.availability == Availability::Active;
        let last = agent.last.filter(|_| counts);
        let bit = |set: bool, bit| if set { bit } else { 0 };
        self.facts.push(availability | bit(agent.enabled, ENABLED) | bit(last.is_some(), HAD_ONE));
        if counts {
            self.open_counts.push(agent.open);
            self.automatic.push(agent.automatic);
            self.last.extend(last.map(|last| now.as_microsecond() - last.as_microsecond()));
        }
    }

    /// The team's limit; `None`: no limit.
    pub fn limit(&self) -> Option<i32> {
        (self.limit > 0).then_some(self.limit)
    }

    /// The members as they stood before it. Of those who could not get any the counts are 0. `None`: the entry is damaged.
    pub fn agents(&self, at: Timestamp) -> Option<Vec<Agent>> {
        let (mut open, mut automatic, mut last) = (self.open_counts.iter(), self.automatic.iter(), self.last.iter());
        let mut agents = Vec::with_capacity(self.facts.len());
        for (user, facts) in ids(&self.users).zip(&self.facts).filter(|(_, facts)| *facts & STRANGER == 0) {
            let availability = match facts & AVAILABILITY {
                0 => Availability::Offline,
                1 => Availability::Watching,
                _ => Availability::Active,
            };
            let enabled = facts & ENABLED != 0;
            let mut agent = Agent { user, enabled, availability, open: 0, automatic: 0, last: None };
            if enabled && availability == Availability::Active {
                (agent.open, agent.automatic) = (*open.next()?, *automatic.next()?);
            }
            if facts & HAD_ONE != 0 {
                agent.last = Some(before(at, *last.next()?)?);
            }
            agents.push(agent);
        }
        Some(agents)
    }

    /// The head of the queue: what was given out, and the first that was left.
    pub fn head(&self, at: Timestamp) -> Option<Vec<Waiting>> {
        let columns = self.versions.iter().zip(&self.priorities).zip(&self.queued);
        let users: Vec<Uuid> = ids(&self.users).collect();
        ids(&self.conversations)
            .zip(columns)
            .zip(0_u32..)
            .map(|((conversation, ((version, priority), queued)), place)| {
                let priority = Priority::of_level(i16::try_from(*priority).ok()?)?;
                let asked = self.asked_of(place, &users)?;
                Some(Waiting { conversation, version: *version, priority, queued_at: before(at, *queued)?, asked })
            })
            .collect()
    }

    /// Who had the one at this place of the head and did not answer.
    fn asked_of(&self, place: u32, users: &[Uuid]) -> Option<Vec<Uuid>> {
        let asked = self.asked_of.iter().zip(&self.asked).filter(|(of, _)| **of == place).map(|(_, index)| *index);
        asked
            .map(
                |index| {
                    if index == LEFT { Some(Uuid::nil()) } else { users.get(usize::try_from(index).ok()?).copied() }
                },
            )
            .collect()
    }

    /// What was given to whom, in this order.
    pub fn given(&self) -> Option<Vec<(Uuid, Uuid)>> {
        let users: Vec<Uuid> = ids(&self.users).collect();
        let user = |index: &u32| users.get(usize::try_from(*index).ok()?).copied();
        ids(&self.conversations)
            .zip(&self.chosen)
            .map(|(conversation, index)| Some((conversation, user(index)?)))
            .collect()
    }

    /// Whether it comes out the same when it is decided anew.
    pub fn is_reproduced(&self, kind: Kind, at: Timestamp) -> bool {
        let anew = || {
            let (agents, given) = (self.agents(at)?, self.given()?);
            let anew: Vec<(Uuid, Uuid)> = match kind {
                Kind::Batch => {
                    let decision = decide(self.limit(), &agents, &self.head(at)?, at);
                    decision.assignments.iter().map(|made| (made.conversation, made.user)).collect()
                }
                Kind::Return => {
                    let (conversation, agent) = (ids(&self.conversations).next()?, ids(&self.users).next()?);
                    let settings = (self.limit(), self.open);
                    let decided = give_back((conversation, agent), settings, agents.into_iter().next());
                    decided.passed_over.is_none().then_some((conversation, agent)).into_iter().collect()
                }
            };
            Some(anew == given)
        };
        anew().unwrap_or(false)
    }
}

fn ids(bytes: &[u8]) -> impl Iterator<Item = Uuid> {
    bytes.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok())
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn before(at: Timestamp, micros: i64) -> Option<Timestamp> {
    at.checked_sub(micros.microseconds()).ok()
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
