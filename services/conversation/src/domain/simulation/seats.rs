//! The members of the team in both courses of things.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Plan, Snapshot};
use crate::domain::{routing::Agent, state::Availability};

/// What somebody holds and has got, in one course of things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// OPEN conversations of the team that he holds.
    pub open: i32,
    /// Automatic assignments, as fairness counts them.
    pub automatic: i64,
    /// When he got the last one that fairness counts.
    pub last: Option<Timestamp>,
}

impl Load {
    fn of(agent: &Agent) -> Self {
        Self { open: agent.open, automatic: agent.automatic, last: agent.last }
    }

    /// He gets one automatically, out of the queue; `counts`: for fairness.
    pub fn assign(&mut self, at: Timestamp, counts: bool) {
        self.open += 1;
        if counts {
            self.automatic += 1;
            self.last = Some(at);
        }
    }
}

/// Somebody's place in the team.
#[derive(Clone, Debug)]
struct Seat {
    member: bool,
    enabled: bool,
    availability: Availability,
    recorded: Load,
    simulated: Load,
}

impl Seat {
    fn empty() -> Self {
        let (recorded, simulated) = (Load::default(), Load::default());
        Self { member: false, enabled: true, availability: Availability::Offline, recorded, simulated }
    }

    /// The recorded load turns out to be another one. The simulated one is off by as much; while nothing has gone otherwise it is the same.
    fn correct(&mut self, load: Load, parted: bool) {
        if parted {
            self.simulated.open += load.open - self.recorded.open;
            self.simulated.automatic += load.automatic - self.recorded.automatic;
            if self.simulated.last == self.recorded.last {
                self.simulated.last = load.last;
            }
        } else {
            self.simulated = load;
        }
        self.recorded = load;
    }
}

/// Everybody who has or had to do with the team.
#[derive(Clone, Debug, Default)]
pub struct Seats(BTreeMap<Uuid, Seat>);

impl Seats {
    fn seat(&mut self, user: Uuid) -> &mut Seat {
        self.0.entry(user).or_insert_with(Seat::empty)
    }

    pub fn recorded(&mut self, user: Uuid) -> &mut Load {
        &mut self.seat(user).recorded
    }

    pub fn simulated(&mut self, user: Uuid) -> &mut Load {
        &mut self.seat(user).simulated
    }

    /// What a decision saw of the members. Of those who could get nothing it does not say what they held.
    pub fn see(&mut self, agents: &[Agent], complete: bool, parted: bool) {
        if complete {
            self.0.values_mut().for_each(|seat| seat.member = false);
        }
        for agent in agents {
            let seat = self.seat(agent.user);
            (seat.member, seat.enabled, seat.availability) = (true, agent.enabled, agent.availability);
            if agent.enabled && agent.availability == Availability::Active {
                seat.correct(Load::of(agent), parted);
            }
        }
    }

    /// Somebody was asked for and was no member.
    pub fn see_stranger(&mut self, user: Uuid) {
        self.seat(user).member = false;
    }

    /// Something changed about somebody.
    pub fn change(&mut self, snapshot: &Snapshot, plan: &Plan, parted: bool) {
        let user = snapshot.agent.user;
        let before = self.agent(user, plan).is_some_and(|agent| is_active(&agent));
        let seat = self.seat(user);
        (seat.member, seat.enabled, seat.availability) =
            (snapshot.member, snapshot.agent.enabled, snapshot.agent.availability);
        let automatic = seat.simulated.automatic;
        seat.correct(Load::of(&snapshot.agent), parted);
        if !parted {
            return;
        }
        // What fairness counts is not off by a difference here: it starts over.
        seat.simulated.automatic = if snapshot.restart && plan.limit.is_none() { 0 } else { automatic };
        if !before {
            self.start_at_minimum(user, plan);
        }
    }

    /// Whoever becomes eligible starts at the minimum of the others, as `store::slots::start_at_minimum` says.
    pub fn start_at_minimum(&mut self, user: Uuid, plan: &Plan) {
        let all = self.simulation(plan);
        let others = all.iter().filter(|agent| agent.user != user && is_active(agent));
        let (Some(least), true) = (others.map(|agent| agent.automatic).min(), all.iter().any(|a| a.user == user))
        else {
            return;
        };
        self.simulated(user).automatic = least;
    }

    /// Everybody's counts start over: `store::slots::restart_counts`.
    pub fn restart(&mut self) {
        self.0.values_mut().for_each(|seat| seat.simulated.automatic = 0);
    }

    /// The members under other settings, with what they hold in the simulated course.
    pub fn simulation(&self, plan: &Plan) -> Vec<Agent> {
        let mut agents: BTreeMap<Uuid, Agent> = BTreeMap::new();
        for (user, seat) in self.0.iter().filter(|(user, seat)| seat.member && !plan.removed.contains(*user)) {
            agents.insert(*user, agent(*user, seat));
        }
        for (user, always_active) in &plan.added {
            let seat = self.0.get(user).cloned().unwrap_or_else(Seat::empty);
            let mut added = agent(*user, &seat);
            if *always_active {
                (added.enabled, added.availability) = (true, Availability::Active);
            }
            agents.insert(*user, added);
        }
        agents.into_values().collect()
    }

    /// One of them.
    pub fn agent(&self, user: Uuid, plan: &Plan) -> Option<Agent> {
        self.simulation(plan).into_iter().find(|agent| agent.user == user)
    }

    /// Whether the settings make somebody something else than he is.
    pub fn differ(&self, plan: &Plan) -> bool {
        let member = |user: &Uuid| self.0.get(user).is_some_and(|seat| seat.member);
        let is_active = |seat: &Seat| seat.enabled && seat.availability == Availability::Active;
        let active = |user: &Uuid| self.0.get(user).is_some_and(is_active);
        plan.removed.iter().any(member)
            || plan.added.iter().any(|(user, always)| !member(user) || (*always && !active(user)))
    }
}

fn agent(user: Uuid, seat: &Seat) -> Agent {
    let Seat { enabled, availability, simulated: Load { open, automatic, last }, .. } = *seat;
    Agent { user, enabled, availability, open, automatic, last }
}

fn is_active(agent: &Agent) -> bool {
    agent.enabled && agent.availability == Availability::Active
}
