//! The routing of one team replayed over a past period, under the settings that it had or others. Pure.
//!
//! Two courses of things run side by side: the recorded one and the simulated one. Each recorded decision brings the recorded course to
//! exactly what the routing saw, and the simulated one by the same difference; so long as nothing has gone otherwise, the two are the
//! same, and a decision is made anew from what it was made from. What is assumed where they part: docs/decisions/simulation.md.

mod episodes;
mod outcome;
mod replay;
mod seats;

use std::{collections::BTreeSet, time::Duration};

use diwan_hours::Hours;
use jiff::Timestamp;
use uuid::Uuid;

pub use self::{
    episodes::{Episode, Recorded, Side, Step, Urgency, episodes},
    outcome::{Difference, Figures, Outcome},
    replay::Replay,
};
use super::routing::Agent;

/// Where a simulated routing gives something out that the recorded one did not, it does so this long after it could: about what the
/// recorded one takes, so that what both do is done at the time that is recorded.
pub const REACTION: Duration = Duration::from_millis(50);

/// What is to be otherwise.
#[derive(Clone, Debug, Default)]
#[expect(clippy::option_option, reason = "as it was, or another value, and no limit and no hours are values")]
pub struct Plan {
    /// Another limit; inside: `None` for no limit.
    pub limit: Option<Option<i32>>,
    /// Members who get nothing and take nothing.
    pub removed: BTreeSet<Uuid>,
    /// Who is a member throughout, and whether ACTIVE throughout.
    pub added: Vec<(Uuid, bool)>,
    /// Other hours; inside: `None` for always open.
    pub hours: Option<Option<Hours>>,
    /// What waits longest goes first, whatever its priority.
    pub ignore_priorities: bool,
}

/// A member as the routing saw him after something about him changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub at: Timestamp,
    /// He.
    pub agent: Agent,
    /// Whether he was a member.
    pub member: bool,
    /// Whether everybody's counts started over, since the limit was lifted.
    pub restart: bool,
}

/// The settings of the team from a time on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When.
    pub at: Timestamp,
    /// The limit; `None`: no limit.
    pub limit: Option<i32>,
    /// The hours; `None`: always open.
    pub hours: Option<Hours>,
    /// Whether another team has taken its place.
    pub archived: bool,
}

/// What is recorded of one team, but for its decisions, which are fed to the replay one by one.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What came and went, by [`episodes`].
    pub episodes: Vec<Episode>,
    /// Members, by time; the last of each from before the beginning included.
    pub snapshots: Vec<Snapshot>,
    /// Settings, by time; the last from before the beginning included.
    pub settings: Vec<Settings>,
    /// Changes of priorities, by time.
    pub urgencies: Vec<Urgency>,
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
