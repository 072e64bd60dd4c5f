//! What an entry of the ledger says of one conversation.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Entry, STRANGER, before, ids};
use crate::domain::{
    give_back::give_back,
    routing::{Agent, PassedOver},
};

impl Entry {
    /// Whether the team was open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// How many of what was looked at were left waiting.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// How many members were looked at.
    pub fn looked_at(&self) -> usize {
        self.facts.len()
    }

    /// Its place in the queue that was looked at, from 0. `None`: it was not among what was given out nor the first that was left.
    pub fn place(&self, conversation: Uuid) -> Option<usize> {
        ids(&self.conversations).position(|id| id == conversation)
    }

    /// Whoever was asked for and was no member.
    pub fn stranger(&self) -> Option<Uuid> {
        (self.facts == [STRANGER]).then(|| ids(&self.users).next()).flatten()
    }

    /// The members when it was the turn of the conversation at `place`, from 0. `None`: the entry is damaged.
    pub fn turn(&self, at: Timestamp, place: usize) -> Option<Vec<Agent>> {
        let mut agents = self.agents(at)?;
        let head = self.head(at)?;
        for ((given, index), waiting) in (0_i64..).zip(self.chosen.iter().take(place)).zip(head) {
            let agent = agents.get_mut(usize::try_from(*index).ok()?)?;
            agent.assign(before(at, -given)?, waiting.asked.is_empty());
        }
        Some(agents)
    }

    /// Why an offer to one agent was refused; `None`: it was not.
    pub fn refusal(&self, at: Timestamp) -> Option<PassedOver> {
        let agent = self.agents(at)?.into_iter().next();
        give_back((Uuid::nil(), Uuid::nil()), (self.limit(), self.open), agent).passed_over
    }

    /// Somebody else is said to have got the last of it. `false`: there is nobody else.
    #[cfg(test)]
    pub fn damage(&mut self) -> bool {
        let members = u32::try_from(self.facts.len()).unwrap_or_default();
        let Some(last) = self.chosen.last_mut().filter(|_| members > 1) else { return false };
        *last = (*last + 1) % members;
        true
    }
}
