//! The recorded decisions of a replay: each is made anew.

use std::time::Duration;

use diwan_runtime::clock::after;
use uuid::Uuid;

use super::{BATCH, Replay, course::Hold};
use crate::domain::{
    give_back::give_back,
    ledger::Entry,
    routing::{Agent, Assignment, Waiting, decide},
};

impl Replay {
    /// A recorded batch. Whether it comes out the same; `None`: the entry is damaged.
    pub(super) fn batch(&mut self, id: Uuid, entry: &Entry) -> Option<bool> {
        let (agents, head, given) = (entry.agents(self.now)?, entry.head(self.now)?, entry.given()?);
        self.seats.see(&agents, true, self.parted);
        self.arrive_in_time(id, &given);
        let recorded = given.iter().zip(&head).zip(0_u64..).map(|(((conversation, user), waiting), turn)| {
            let (at, counts) = (after(self.now, Duration::from_micros(turn)), waiting.asked.is_empty());
            Assignment { conversation: *conversation, version: 0, user: *user, counts, at, last: None }
        });
        let recorded: Vec<Assignment> = recorded.collect();
        let made = self.made(entry.limit(), (&agents, &head), &recorded);
        for Assignment { conversation, user, at, counts, .. } in &recorded {
            self.seats.recorded(*user).assign(*at, *counts);
            if let Some(index) = self.given.get(&(id, *conversation)).copied() {
                self.recorded_end(index);
            }
        }
        let same = made.iter().map(|made| (made.conversation, made.user)).eq(given.iter().copied());
        self.react_at = None;
        self.assign(&made, Some(id));
        self.parted |= self.begun && !same;
        self.may_react_after(made.len());
        Some(same)
    }

    /// What the simulated routing gives out at a recorded decision.
    fn made(
        &self,
        recorded_limit: Option<i32>,
        (agents, head): (&[Agent], &[Waiting]),
        recorded: &[Assignment],
    ) -> Vec<Assignment> {
        let limit = self.limit(recorded_limit);
        match (self.begun, self.differs((recorded_limit, true))) {
            (false, _) => recorded.to_vec(),
            (true, false) => decide(limit, agents, head, self.now).assignments,
            (true, true) if self.open(true) => {
                decide(limit, &self.seats.simulation(&self.plan), &self.course.head(BATCH), self.now).assignments
            }
            (true, true) => Vec::new(),
        }
    }

    /// A full batch may have left something to give out.
    fn may_react_after(&mut self, made: usize) {
        if made >= BATCH {
            self.may_react();
        }
    }

    /// Clocks of processes differ a little: what a decision gave out had arrived.
    fn arrive_in_time(&mut self, id: Uuid, given: &[(Uuid, Uuid)]) {
        for (conversation, _) in given {
            if let Some(index) = self.given.get(&(id, *conversation)).copied()
                && !self.course.has_entered(index)
            {
                self.enter(index, self.now);
            }
        }
    }

    /// A recorded offer to one agent. Whether it comes out the same.
    pub(super) fn returned(&mut self, id: Uuid, entry: &Entry) -> Option<bool> {
        let (agents, accepted) = (entry.agents(self.now)?, !entry.given()?.is_empty());
        let agent = agents.first().map(|agent| agent.user).or(entry.stranger())?;
        if agents.is_empty() {
            self.seats.see_stranger(agent);
        } else {
            self.seats.see(&agents, false, self.parted);
        }
        let index = self.offered.get(&id).copied();
        let differs = self.differs((entry.limit(), entry.is_open()));
        let to = index.filter(|_| differs).and_then(|index| self.former_holder(index)).unwrap_or(agent);
        let candidate: Option<Agent> =
            if differs { self.seats.agent(to, &self.plan) } else { agents.into_iter().next() };
        let settings = (self.limit(entry.limit()), self.open(entry.is_open()));
        let decided = give_back((Uuid::nil(), to), settings, candidate).passed_over.is_none();
        let takes = if self.begun { decided } else { accepted };
        if accepted {
            self.seats.recorded(agent).open += 1;
        }
        if let Some(index) = index {
            if accepted {
                self.recorded_end(index);
            }
            self.enter(index, self.now);
            if takes && self.course.leave(index).is_some() {
                self.seats.simulated(to).open += 1;
                self.hold(index, Hold { user: to, at: self.now, by_hand: false });
            }
        }
        let same = takes == accepted && (!takes || to == agent);
        self.may_react();
        Some(same)
    }

    /// Who had it last in the simulated course, where it was this conversation that he had.
    fn former_holder(&self, index: usize) -> Option<Uuid> {
        let episode = &self.episodes[index];
        episode.offer.filter(|offer| offer.former)?;
        self.course.last_holder(episode.conversation)
    }
}
