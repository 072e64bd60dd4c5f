//! One team that works by a script and keeps what the service keeps.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use diwan_runtime::clock::after;
use jiff::Timestamp;
use uuid::Uuid;

use super::super::{History, Plan, Settings, Side, Snapshot, Step, episodes};
use crate::domain::{
    ledger::{Entry, Kind},
    routing::{Agent, Waiting, decide},
    state::{Availability, Cause, Priority, State},
};

const TEAM: Uuid = Uuid::from_u128(999);

/// What is done. What does not fit the moment is not.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Arrive { handling: u64, priority: Priority },
    Become { user: usize, availability: Availability },
    Member { user: usize, member: bool },
    Limit(Option<i32>),
    Take { which: usize, user: usize },
    Leave { which: usize },
}

/// A user.
pub fn person(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

fn conversation(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1_000_000)
}

/// So many seconds after the beginning.
pub fn at(second: u64) -> Timestamp {
    after(Timestamp::from_second(1_800_000_000).unwrap(), Duration::from_secs(second))
}

/// What the service keeps.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub decisions: Vec<(Uuid, Timestamp, Kind, Entry)>,
    pub steps: Vec<Step>,
    pub snapshots: Vec<Snapshot>,
    pub settings: Vec<Settings>,
    /// Who got what, and when.
    pub got: BTreeMap<Uuid, (Uuid, Timestamp)>,
    /// What was done of what does not always fit: by its place in the script.
    done: Vec<usize>,
}

impl Records {
    pub fn history(&self) -> History {
        let mut steps = self.steps.clone();
        steps.sort_by_key(|step| step.conversation);
        let episodes = episodes(TEAM, &steps, Vec::new(), &[]);
        let (snapshots, settings) = (self.snapshots.clone(), self.settings.clone());
        History { episodes, snapshots, settings, urgencies: Vec::new() }
    }

    /// Times are off by a few milliseconds, those of decisions excepted.
    pub fn blur(&mut self, seed: u64) {
        let off = |number: usize| Duration::from_millis((number as u64 * 31 + seed) % 13);
        for (number, step) in self.steps.iter_mut().enumerate().filter(|(_, step)| step.decision.is_none()) {
            step.at = after(step.at, off(number));
        }
        for (number, snapshot) in self.snapshots.iter_mut().enumerate() {
            snapshot.at = after(snapshot.at, off(number));
        }
    }

    /// Another one got the last of a decision. `false`: there is no other.
    pub fn damage(&mut self, which: usize) -> bool {
        self.decisions[which].3.damage()
    }
}

struct Member {
    member: bool,
    agent: Agent,
}

enum Place {
    Waits,
    With(usize),
    Gone,
}

struct Case {
    place: Place,
    handling: Option<Duration>,
    waiting: Waiting,
}

/// The shop at work.
pub struct Shop<'a> {
    plan: &'a Plan,
    limit: Option<i32>,
    members: Vec<Member>,
    cases: Vec<Case>,
    ends: BinaryHeap<Reverse<(Timestamp, usize)>>,
    records: Records,
    now: Timestamp,
}

impl<'a> Shop<'a> {
    /// Works through a script under a plan. With the records of another run only what was done there is done, and what was never held
    /// there is held to the end.
    pub fn run(acts: &[(u64, Act)], plan: &'a Plan, other: Option<&Records>) -> Records {
        let agent = |number| Agent {
            user: person(number),
            enabled: true,
            availability: Availability::Offline,
            open: 0,
            automatic: 0,
            last: None,
        };
        let members = (0..super::USERS).map(|number| Member { member: true, agent: agent(number) }).collect();
        let (cases, ends, records) = (Vec::new(), BinaryHeap::new(), Records::default());
        let mut shop = Self { plan, limit: plan.limit.flatten(), members, cases, ends, records, now: at(0) };
        shop.records.settings.push(Settings { at: at(0), limit: None, hours: None, archived: false });
        (0..super::USERS).for_each(|user| shop.note(user, false));
        for (number, (second, act)) in acts.iter().enumerate() {
            shop.until(at(*second));
            let chance = matches!(act, Act::Take { .. } | Act::Leave { .. });
            if !chance || other.is_none_or(|other| other.done.contains(&number)) {
                shop.act(number, *act, other);
            }
            shop.route();
        }
        shop.until(at(10_000));
        shop.records
    }

    /// What ends by then ends.
    fn until(&mut self, time: Timestamp) {
        while let Some(Reverse((end, which))) = self.ends.peek().copied().filter(|Reverse((end, _))| *end <= time) {
            self.ends.pop();
            self.now = end;
            self.end(which, Cause::Closed);
            self.route();
        }
        self.now = time;
    }

    fn end(&mut self, which: usize, cause: Cause) {
        let Place::With(user) = self.cases[which].place else { return };
        self.cases[which].place = Place::Gone;
        self.members[user].agent.open -= 1;
        self.step(which, cause, (State::Open, Some(user)), (State::Closed, None), None);
    }

    fn act(&mut self, number: usize, act: Act, other: Option<&Records>) {
        match act {
            Act::Arrive { handling, priority } => {
                let which = self.cases.len();
                let id = conversation(which);
                // No two things at the same time, which would leave open what comes first.
                let handling = Duration::from_secs(handling) + Duration::from_micros(which as u64 * 7 + 3);
                let handling = Some(handling).filter(|_| other.is_none_or(|other| other.got.contains_key(&id)));
                let waiting =
                    Waiting { conversation: id, version: 1, priority, queued_at: self.now, asked: Vec::new() };
                self.cases.push(Case { place: Place::Waits, handling, waiting });
                let side = Side { state: State::Queued, team: TEAM, holder: None };
                self.records.steps.push(Step {
                    conversation: id,
                    at: self.now,
                    cause: Cause::Arrival,
                    decision: None,
                    from: None,
                    to: side,
                    queued_since: None,
                    priority,
                });
            }
            Act::Become { user, availability } => {
                let agent = &mut self.members[user].agent;
                let becomes = agent.availability != availability;
                agent.availability = availability;
                if becomes && availability == Availability::Active {
                    self.start_at_minimum(user);
                }
                self.note(user, false);
            }
            Act::Member { user, member } if self.members[user].member != member => {
                self.members[user].member = member;
                if member {
                    self.start_at_minimum(user);
                }
                self.note(user, false);
            }
            Act::Limit(limit) if self.plan.limit.is_none() => self.set_limit(limit),
            Act::Take { which, user } => self.take(number, which, user),
            Act::Leave { which } => self.leave(number, which),
            Act::Member { .. } | Act::Limit(_) => {}
        }
    }

    fn set_limit(&mut self, limit: Option<i32>) {
        let lifted = self.limit.is_some() && limit.is_none();
        self.limit = limit;
        self.records.settings.push(Settings { at: self.now, limit, hours: None, archived: false });
        if lifted {
            self.members.iter_mut().for_each(|member| member.agent.automatic = 0);
            (0..self.members.len()).for_each(|user| self.note(user, true));
        }
    }

    fn take(&mut self, number: usize, which: usize, user: usize) {
        if !self.waits(which) || self.plan.removed.contains(&person(user)) {
            return;
        }
        self.records.done.push(number);
        self.members[user].agent.open += 1;
        self.hold(which, user, None);
    }

    /// It leaves the queue, or whoever got it under other settings.
    fn leave(&mut self, number: usize, which: usize) {
        if self.waits(which) {
            self.cases[which].place = Place::Gone;
            self.records.done.push(number);
            self.step(which, Cause::Closed, (State::Queued, None), (State::Closed, None), None);
        } else if which < self.cases.len() && self.cases[which].handling.is_none() {
            self.end(which, Cause::Closed);
        }
    }

    fn waits(&self, which: usize) -> bool {
        self.cases.get(which).is_some_and(|case| matches!(case.place, Place::Waits))
    }

    fn hold(&mut self, which: usize, user: usize, decision: Option<Uuid>) {
        let case = &mut self.cases[which];
        case.place = Place::With(user);
        if let Some(handling) = case.handling {
            self.ends.push(Reverse((after(self.now, handling), which)));
        }
        self.records.got.insert(conversation(which), (person(user), self.now));
        let why = if decision.is_some() { Cause::Automatic } else { Cause::Taken };
        self.step(which, why, (State::Queued, None), (State::Open, Some(user)), decision);
    }

    fn step(
        &mut self,
        which: usize,
        cause: Cause,
        from: (State, Option<usize>),
        to: (State, Option<usize>),
        decision: Option<Uuid>,
    ) {
        let side = |(state, holder): (State, Option<usize>)| Side { state, team: TEAM, holder: holder.map(person) };
        self.records.steps.push(Step {
            conversation: conversation(which),
            at: self.now,
            cause,
            decision,
            from: Some(side(from)),
            to: side(to),
            queued_since: None,
            priority: self.cases[which].waiting.priority,
        });
    }

    fn agents(&self) -> Vec<Agent> {
        let members = self.members.iter().filter(|member| member.member);
        members.map(|member| member.agent.clone()).filter(|agent| !self.plan.removed.contains(&agent.user)).collect()
    }

    fn route(&mut self) {
        let waiting: Vec<Waiting> = self
            .cases
            .iter()
            .filter(|case| matches!(case.place, Place::Waits))
            .map(|case| case.waiting.clone())
            .collect();
        let agents = self.agents();
        let decision = decide(self.limit, &agents, &waiting, self.now);
        if decision.assignments.is_empty() {
            return;
        }
        let id = Uuid::from_u128(self.records.decisions.len() as u128 + 5_000_000);
        let entry = Entry::of_batch(&decision, &agents, &waiting, self.now);
        self.records.decisions.push((id, self.now, Kind::Batch, entry));
        for made in &decision.assignments {
            let (which, user) = (made.conversation.as_u128() - 1_000_000, made.user.as_u128() - 1);
            let (which, user) = (usize::try_from(which).unwrap(), usize::try_from(user).unwrap());
            let agent = &mut self.members[user].agent;
            agent.assign(made.at, made.counts);
            self.hold(which, user, Some(id));
        }
    }

    fn start_at_minimum(&mut self, user: usize) {
        let others = self
            .agents()
            .into_iter()
            .filter(|agent| agent.user != person(user) && agent.availability == Availability::Active);
        if let (Some(least), true) = (others.map(|agent| agent.automatic).min(), self.members[user].member) {
            self.members[user].agent.automatic = least;
        }
    }

    fn note(&mut self, user: usize, restart: bool) {
        let Member { member, agent } = &self.members[user];
        self.records.snapshots.push(Snapshot { at: self.now, agent: agent.clone(), member: *member, restart });
    }
}
