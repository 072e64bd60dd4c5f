//! Episodes: each stay of a conversation with the team, from its queue, or from whoever gave it there, to the end of its holding.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::state::{Cause, Priority, State};

/// Where a conversation was before or after a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its state.
    pub state: State,
    /// Its team.
    pub team: Uuid,
    /// Its holder.
    pub holder: Option<Uuid>,
}

/// A transition.
#[derive(Clone, Debug)]
pub struct Step {
    /// The conversation.
    pub conversation: Uuid,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// The decision behind it.
    pub decision: Option<Uuid>,
    /// Before; `None`: it is new.
    pub from: Option<Side>,
    /// After.
    pub to: Side,
    /// Of one that was in the queue before the first step that is known: since when.
    pub queued_since: Option<Timestamp>,
    /// Its priority now.
    pub priority: Priority,
}

/// A priority that changed.
#[derive(Clone, Copy, Debug)]
pub struct Urgency {
    /// When.
    pub at: Timestamp,
    /// The conversation.
    pub conversation: Uuid,
    /// Before.
    pub from: Priority,
    /// After.
    pub to: Priority,
}

/// What became of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It waits.
    Waits,
    /// It left the queue without a holder.
    Left(Timestamp),
    /// A decision gave it to an agent.
    Given { decision: Uuid, user: Uuid, at: Timestamp },
    /// It was offered to an agent, and he got it.
    Returned { user: Uuid, at: Timestamp },
    /// Somebody took it or was given it by hand.
    ByHand { user: Uuid, at: Timestamp },
    /// Somebody held it from before the first transition that is known.
    Held { user: Uuid, until: Timestamp },
}

/// An offer to one agent at the beginning of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The decision.
    pub decision: Uuid,
    /// Whether he had held this conversation, and not another one of its customer.
    pub former: bool,
}

/// One stay of a conversation.
#[derive(Clone, Debug)]
pub struct Episode {
    /// The conversation.
    pub conversation: Uuid,
    /// When it came.
    pub enters: Timestamp,
    /// Since when it waits.
    pub since: Timestamp,
    /// Its priority when it came.
    pub priority: Priority,
    /// To whom it was offered first.
    pub offer: Option<Offered>,
    /// Whether it came back because its holder did not answer.
    pub unanswered: bool,
    /// What became of it.
    pub recorded: Recorded,
    /// When its holder let it go. `None`: he has it, or nobody did.
    pub until: Option<Timestamp>,
}

impl Episode {
    /// Who got it, when, and whether by hand.
    pub fn got(&self) -> Option<(Uuid, Timestamp, bool)> {
        match self.recorded {
            Recorded::Waits | Recorded::Left(_) | Recorded::Held { .. } => None,
            Recorded::Given { user, at, .. } | Recorded::Returned { user, at } => Some((user, at, false)),
            Recorded::ByHand { user, at } => Some((user, at, true)),
        }
    }
}

/// Reads the episodes of a team off the transitions of its conversations, which are given by conversation and version. `waiting` waits
/// throughout: conversations without a transition.
pub fn episodes(team: Uuid, steps: &[Step], waiting: Vec<Episode>, urgencies: &[Urgency]) -> Vec<Episode> {
    let mut changes: HashMap<Uuid, Vec<&Urgency>> = HashMap::new();
    for urgency in urgencies {
        changes.entry(urgency.conversation).or_default().push(urgency);
    }
    let mut all = waiting;
    for steps in steps.chunk_by(|one, next| one.conversation == next.conversation) {
        let mut reader = Reader { team, all: &mut all, current: None };
        for step in steps {
            reader.read(step);
        }
    }
    for episode in &mut all {
        if let Some(changes) = changes.get(&episode.conversation) {
            episode.priority = priority_at(changes, episode.enters).unwrap_or(episode.priority);
        }
    }
    all
}

fn priority_at(changes: &[&Urgency], at: Timestamp) -> Option<Priority> {
    let before = changes.iter().rev().find(|change| change.at <= at).map(|change| change.to);
    before.or_else(|| changes.first().map(|change| change.from))
}

struct Reader<'a> {
    team: Uuid,
    all: &'a mut Vec<Episode>,
    current: Option<usize>,
}

impl Reader<'_> {
    fn read(&mut self, step: &Step) {
        let here = |side: &Side| side.team == self.team;
        let from = step.from.filter(here);
        let to = Some(step.to).filter(here);
        let state = |side: Option<Side>| side.map(|side| side.state);
        match (state(from), state(to)) {
            (Some(State::Queued), Some(State::Queued)) => {}
            (Some(State::Queued), Some(State::Open)) => self.given(step),
            (Some(State::Queued), _) => {
                let index = self.queued(step);
                self.all[index].recorded = Recorded::Left(step.at.max(self.all[index].enters));
                self.current = None;
            }
            (Some(State::Open), Some(State::Open)) if from.map(|side| side.holder) == to.map(|side| side.holder) => {}
            (Some(State::Open), after) => {
                self.ends(step, from.and_then(|side| side.holder));
                self.comes(step, after);
            }
            (_, after) => self.comes(step, after),
        }
    }

    /// It comes to the queue, or straight to an agent.
    fn comes(&mut self, step: &Step, after: Option<State>) {
        if !matches!(after, Some(State::Queued | State::Open)) {
            return;
        }
        self.enter(step, step.at);
        if after == Some(State::Open) {
            self.given(step);
        }
    }

    /// Its holder lets it go.
    fn ends(&mut self, step: &Step, holder: Option<Uuid>) {
        if let Some(index) = self.current.take() {
            let got = self.all[index].got().map_or(step.at, |(_, at, _)| at);
            self.all[index].until = Some(step.at.max(got));
        } else if let Some(user) = holder {
            let index = self.enter(step, step.at);
            self.all[index].offer = None;
            self.all[index].recorded = Recorded::Held { user, until: step.at };
            self.current = None;
        }
    }

    fn enter(&mut self, step: &Step, since: Timestamp) -> usize {
        let offer = step.decision.filter(|_| step.cause != Cause::Automatic);
        self.all.push(Episode {
            conversation: step.conversation,
            enters: since,
            since,
            priority: step.priority,
            offer: offer.map(|decision| Offered { decision, former: step.cause != Cause::Arrival }),
            unanswered: step.cause == Cause::NoAnswer,
            recorded: Recorded::Waits,
            until: None,
        });
        self.current = Some(self.all.len() - 1);
        self.all.len() - 1
    }

    /// The episode that waits: one that came before the first step that is known begins here.
    fn queued(&mut self, step: &Step) -> usize {
        if let Some(index) = self.current {
            return index;
        }
        let since = step.queued_since.unwrap_or(step.at).min(step.at);
        let index = self.enter(step, since);
        self.all[index].offer = None;
        index
    }

    fn given(&mut self, step: &Step) {
        let index = self.queued(step);
        let Some(user) = step.to.holder else { return };
        // Clocks of processes differ a little.
        let at = step.at.max(self.all[index].enters);
        self.all[index].recorded = match (step.decision, step.cause) {
            (Some(decision), Cause::Automatic) => Recorded::Given { decision, user, at },
            (Some(_), _) => Recorded::Returned { user, at },
            (None, _) => Recorded::ByHand { user, at },
        };
    }
}
