//! The replay of one team.

mod course;
mod recorded;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_runtime::clock::after;
use jiff::Timestamp;
use uuid::Uuid;

pub use self::course::{Course, Hold};
use super::{Episode, History, Outcome, Plan, Recorded, Settings, Snapshot, Urgency, outcome, seats::Seats};
use crate::domain::{
    ledger::{Entry, Kind},
    routing::{Assignment, Waiting, decide},
};

/// As `flow::assign` looks at so many at a time.
const BATCH: usize = crate::flow::assign::BATCH;

/// What happens, besides decisions. At the same time what stands first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The settings change, by index.
    Settings(usize),
    /// Somebody changes, by index.
    Snapshot(usize),
    /// What somebody held from before the beginning is let go.
    Freed(usize),
    /// An episode's recorded holder lets it go.
    RecordedEnd(usize),
    /// Its simulated holder does; the number tells which of its holdings.
    SimulatedEnd(usize, u32),
    /// It leaves the queue without a holder.
    Leaves(usize),
    /// It comes.
    Enters(usize),
    /// A priority changes, by index.
    Urgency(usize),
    /// Somebody takes it by hand.
    ByHand(usize),
}

/// The replay of one team over one period.
pub struct Replay {
    plan: Plan,
    reaction: Duration,
    from: Timestamp,
    episodes: Vec<Episode>,
    snapshots: Vec<Snapshot>,
    settings: Vec<Settings>,
    urgencies: Vec<Urgency>,
    /// Episodes by the decision that gave them out and the conversation, and by the offer that they began with.
    given: HashMap<(Uuid, Uuid), usize>,
    offered: HashMap<Uuid, usize>,
    events: BinaryHeap<Reverse<(Timestamp, Event)>>,
    now: Timestamp,
    /// Index of the settings in force.
    in_force: Option<usize>,
    seats: Seats,
    course: Course,
    /// Whether the other settings are in force yet.
    begun: bool,
    /// Whether anything has gone otherwise.
    parted: bool,
    /// When the simulated routing looks by itself.
    react_at: Option<Timestamp>,
    /// When a shift may begin or end.
    opens_at: Option<Timestamp>,
    /// Set by whoever does not want to know any more.
    stop: Arc<AtomicBool>,
    decisions: i64,
    reproduced: i64,
}

impl Replay {
    /// Of a history, with other settings from `from` on. What was before it brings the team to where it was then.
    pub fn new(plan: Plan, history: History, from: Timestamp, (reaction, stop): (Duration, Arc<AtomicBool>)) -> Self {
        let History { episodes, snapshots, settings, urgencies } = history;
        let mut replay = Self {
            course: Course::new(episodes.len()),
            plan,
            reaction,
            from,
            given: HashMap::new(),
            offered: HashMap::new(),
            events: BinaryHeap::new(),
            now: Timestamp::MIN,
            in_force: None,
            seats: Seats::default(),
            begun: false,
            parted: false,
            react_at: None,
            opens_at: None,
            stop,
            decisions: 0,
            reproduced: 0,
            episodes,
            snapshots,
            settings,
            urgencies,
        };
        replay.schedule();
        replay
    }

    fn schedule(&mut self) {
        for (index, settings) in self.settings.iter().enumerate() {
            self.events.push(Reverse((settings.at, Event::Settings(index))));
        }
        for (index, snapshot) in self.snapshots.iter().enumerate() {
            self.events.push(Reverse((snapshot.at, Event::Snapshot(index))));
        }
        for (index, urgency) in self.urgencies.iter().enumerate() {
            self.events.push(Reverse((urgency.at, Event::Urgency(index))));
        }
        for (index, episode) in self.episodes.iter().enumerate() {
            match episode.offer {
                Some(offer) => drop(self.offered.insert(offer.decision, index)),
                None if matches!(episode.recorded, Recorded::Held { .. }) => {}
                None => self.events.push(Reverse((episode.enters, Event::Enters(index)))),
            }
            match episode.recorded {
                Recorded::Held { until, .. } => self.events.push(Reverse((until, Event::Freed(index)))),
                Recorded::Left(at) => self.events.push(Reverse((at, Event::Leaves(index)))),
                Recorded::ByHand { at, .. } => self.events.push(Reverse((at, Event::ByHand(index)))),
                Recorded::Given { decision, .. } => {
                    self.given.insert((decision, episode.conversation), index);
                }
                Recorded::Waits | Recorded::Returned { .. } => {}
            }
        }
    }

    /// Up to where it has been replayed.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Recorded decisions of the period so far.
    pub fn decisions(&self) -> i64 {
        self.decisions
    }

    /// A recorded decision. They come in their order; those from before the period only bring the team to where it was.
    pub fn decided(&mut self, (id, at): (Uuid, Timestamp), kind: Kind, entry: &Entry) {
        self.advance(at, true);
        let same = match kind {
            Kind::Batch => self.batch(id, entry),
            Kind::Return => self.returned(id, entry),
        }
        .unwrap_or(false);
        if at >= self.from {
            self.decisions += 1;
            self.reproduced += i64::from(same);
        }
        self.parted |= self.begun && !same;
    }

    /// The end of the period.
    pub fn finish(mut self, to: Timestamp) -> Outcome {
        self.advance(to, false);
        let ran = (self.decisions, self.reproduced);
        outcome::of(&self.episodes, &self.course, (self.from, to), ran)
    }

    /// Everything up to `until`; what is `at` that very moment only with `included`, but then before the routing looks by itself.
    fn advance(&mut self, until: Timestamp, included: bool) {
        while !self.stop.load(Ordering::Relaxed) {
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            let beginning = (!self.begun).then_some(self.from);
            let next = [event, self.react_at, self.opens_at, beginning].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next < until || (included && *next == until)) else { break };
            let looks = [event, self.opens_at, beginning].into_iter().flatten().all(|other| other > next);
            if looks && next == until {
                break;
            }
            self.now = self.now.max(next);
            match self.events.peek() {
                _ if beginning == Some(next) => self.begin(),
                _ if self.opens_at == Some(next) => self.turn(),
                Some(Reverse((at, _))) if *at == next => {
                    if let Some(Reverse((_, event))) = self.events.pop() {
                        self.happen(event);
                    }
                }
                _ => self.look(),
            }
        }
        self.now = self.now.max(until);
    }

    /// The other settings come into force.
    fn begin(&mut self) {
        self.begun = true;
        let limit = self.settings_in_force().and_then(|settings| settings.limit);
        if self.plan.limit == Some(None) && limit.is_some() {
            self.seats.restart();
            self.parted = true;
        }
        for (user, _) in self.plan.added.clone() {
            self.seats.start_at_minimum(user, &self.plan);
        }
        self.parted |= self.seats.differ(&self.plan) || self.plan.ignore_priorities;
        if self.plan.ignore_priorities {
            self.course.forget_priorities();
        }
        self.next_opening();
        self.may_react();
    }

    fn settings_in_force(&self) -> Option<&Settings> {
        self.in_force.map(|index| &self.settings[index])
    }

    fn recorded_open(&self) -> bool {
        let hours = self.settings_in_force().and_then(|settings| settings.hours.as_ref());
        hours.is_none_or(|hours| hours.is_open(self.now))
    }

    /// Whether the team is open where the recorded one is or is not.
    fn open(&self, recorded: bool) -> bool {
        match self.plan.hours.as_ref().filter(|_| self.begun) {
            Some(hours) => hours.as_ref().is_none_or(|hours| hours.is_open(self.now)),
            None => recorded,
        }
    }

    fn limit(&self, recorded: Option<i32>) -> Option<i32> {
        self.plan.limit.filter(|_| self.begun).unwrap_or(recorded)
    }

    /// Whether the simulated course may part from the recorded one now, or has.
    fn differs(&self, (limit, open): (Option<i32>, bool)) -> bool {
        let changed = self.limit(limit) != limit || self.open(open) != open || self.seats.differ(&self.plan);
        self.parted || (self.begun && changed)
    }

    fn may_react(&mut self) {
        let limit = self.settings_in_force().and_then(|settings| settings.limit);
        if self.begun && self.react_at.is_none() && self.differs((limit, self.recorded_open())) {
            self.react_at = Some(after(self.now, self.reaction));
        }
    }

    fn next_opening(&mut self) {
        let recorded = self.settings_in_force().and_then(|settings| settings.hours.as_ref());
        let hours = [recorded, self.plan.hours.as_ref().and_then(Option::as_ref)];
        self.opens_at = hours.into_iter().flatten().filter_map(|hours| hours.next_change(self.now)).min();
    }

    /// A shift may have begun.
    fn turn(&mut self) {
        self.next_opening();
        self.may_react();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Settings(index) => {
                self.in_force = Some(index);
                self.next_opening();
            }
            Event::Snapshot(index) => {
                // A limit that is lifted has everybody's counts start over, but not where another limit was in force all along.
                self.parted |= self.begun && self.snapshots[index].restart && self.plan.limit.is_some();
                self.seats.change(&self.snapshots[index], &self.plan, self.parted);
            }
            Event::Freed(index) => {
                if let Recorded::Held { user, .. } = self.episodes[index].recorded {
                    self.seats.recorded(user).open -= 1;
                    self.seats.simulated(user).open -= 1;
                }
            }
            Event::RecordedEnd(index) => {
                if let Some((user, ..)) = self.episodes[index].got() {
                    self.seats.recorded(user).open -= 1;
                }
            }
            Event::SimulatedEnd(index, holding) => self.let_go(index, Some(holding)),
            Event::Leaves(index) => {
                self.course.leave(index);
                self.let_go(index, None);
            }
            Event::Enters(index) => self.enter(index, self.now),
            Event::Urgency(index) => {
                let Urgency { conversation, to, .. } = self.urgencies[index];
                if !(self.begun && self.plan.ignore_priorities) {
                    self.course.prioritize(conversation, to);
                }
            }
            Event::ByHand(index) => self.by_hand(index),
        }
        self.may_react();
    }

    /// It comes to the queue. Whatever was left of it here before has ended: a conversation is here once.
    fn enter(&mut self, index: usize, since: Timestamp) {
        if self.course.has_entered(index) {
            return;
        }
        let conversation = self.episodes[index].conversation;
        let mut since = since.min(self.episodes[index].since);
        if let Some(former) = self.course.current(conversation).filter(|former| *former != index) {
            since = self.course.leave(former).map_or(since, |waited| waited.min(since));
            self.let_go(former, None);
        }
        let mut priority = self.episodes[index].priority;
        if self.begun && self.plan.ignore_priorities {
            priority = Default::default();
        }
        let asked = self.asked(index);
        self.course.enter(index, Waiting { conversation, version: 0, priority, queued_at: since, asked });
    }

    /// Who has had it and did not answer: in the simulated course.
    fn asked(&self, index: usize) -> Vec<Uuid> {
        let Episode { conversation, unanswered, .. } = self.episodes[index];
        if unanswered { self.course.asked(conversation) } else { Vec::new() }
    }

    fn by_hand(&mut self, index: usize) {
        let Recorded::ByHand { user, .. } = self.episodes[index].recorded else { return };
        self.seats.recorded(user).open += 1;
        self.recorded_end(index);
        let allowed = !(self.begun && self.plan.removed.contains(&user));
        if allowed && self.course.leave(index).is_some() {
            self.hold(index, Hold { user, at: self.now, by_hand: true });
        } else {
            self.parted |= self.begun;
        }
    }

    fn recorded_end(&mut self, index: usize) {
        if let Some(until) = self.episodes[index].until {
            self.events.push(Reverse((until.max(self.now), Event::RecordedEnd(index))));
        }
    }

    /// Somebody gets it: he has it for as long as its recorded holder had it.
    fn hold(&mut self, index: usize, hold: Hold) {
        let holding = self.course.hold((index, self.episodes[index].conversation), hold);
        if hold.by_hand {
            self.seats.simulated(hold.user).open += 1;
        }
        let episode = &self.episodes[index];
        if let Some((until, (_, got, _))) = episode.until.zip(episode.got()) {
            let handled = Duration::try_from(until.duration_since(got)).unwrap_or_default();
            let end = after(self.now, handled).max(self.now);
            self.events.push(Reverse((end, Event::SimulatedEnd(index, holding))));
        }
    }

    fn let_go(&mut self, index: usize, holding: Option<u32>) {
        if let Some(user) = self.course.let_go(index, holding) {
            self.seats.simulated(user).open -= 1;
        }
    }

    /// The simulated routing looks by itself.
    fn look(&mut self) {
        self.react_at = None;
        let Some(settings) = self.settings_in_force() else { return };
        let (limit, archived) = (settings.limit, settings.archived);
        let open = self.recorded_open();
        if archived || !self.open(open) || !self.differs((limit, open)) {
            return;
        }
        let made = decide(self.limit(limit), &self.seats.simulation(&self.plan), &self.course.head(BATCH), self.now);
        self.parted |= !made.assignments.is_empty();
        let full = made.assignments.len() == BATCH;
        self.assign(&made.assignments, None);
        if full {
            self.react_at = Some(self.now);
        }
    }

    /// Makes the assignments of the simulated course.
    fn assign(&mut self, made: &[Assignment], decision: Option<Uuid>) {
        for Assignment { conversation, user, at, counts, .. } in made {
            let recorded = decision.and_then(|decision| self.given.get(&(decision, *conversation)).copied());
            let Some(index) = self.course.waiting(*conversation).or(recorded) else { continue };
            self.course.leave(index);
            self.seats.simulated(*user).assign(*at, *counts);
            self.hold(index, Hold { user: *user, at: self.now, by_hand: false });
        }
    }
}
