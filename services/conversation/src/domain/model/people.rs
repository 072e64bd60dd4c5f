//! What people decide by hand: to whom a conversation goes, or many at once.

use jiff::Timestamp;

use super::world::{Conversation, World, id};
use crate::{
    domain::{scope::Facts, state::State},
    flow::hand_over::{Destination, is_there},
};

/// Where something goes by hand.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// `None`: the team that it is with.
    pub team: Option<usize>,
    /// `None`: the queue.
    pub user: Option<usize>,
}

/// What moves in bulk: `flow::reassign::Order`.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    pub holder: Option<usize>,
    pub team: Option<usize>,
    pub queued: bool,
    pub to: Target,
}

impl Bulk {
    fn names(self, found: &Conversation) -> bool {
        self.holder.is_none_or(|holder| found.holder == Some(holder))
            && self.team.is_none_or(|team| found.team == team)
            && (matches!(found.state, State::Open | State::Snoozed) || (self.queued && found.state == State::Queued))
    }
}

impl World {
    /// What `flow::hand_over` does with what is not closed. `false`: he cannot be given it.
    pub fn hand_over(&mut self, conversation: usize, to: Target) -> bool {
        let before @ (state, team, _, queued_at) = self.place(conversation);
        if is_there(facts(before), self.destination(to)) {
            return true;
        }
        let team = to.team.map_or(team, |team| self.heir(team));
        if to.user.is_some_and(|user| !self.users[user].enabled || !self.slot(team, user).member) {
            return false;
        }
        // What waits already goes on waiting, as long as it has.
        let since = if state == State::Queued { queued_at } else { self.now };
        self.queue(conversation, team, since);
        if let Some(user) = to.user {
            self.hold(conversation, user);
        }
        true
    }

    /// What `flow::reassign` does: everything that is named goes there, unless its person cannot be given it, and nothing else moves.
    pub fn reassign(&mut self, bulk: Bulk) {
        for conversation in 0..self.conversations.len() {
            let before = self.place(conversation);
            let named = bulk.names(&self.conversations[conversation]);
            let moved = named && self.hand_over(conversation, bulk.to);
            let after @ (state, team, holder, _) = self.place(conversation);
            if moved {
                assert_eq!((holder, state == State::Open), (bulk.to.user, bulk.to.user.is_some()), "{bulk:?}");
                assert_eq!(team, self.heir(bulk.to.team.unwrap_or(before.1)), "{bulk:?}");
            } else {
                assert_eq!(after, before, "{bulk:?} moved what it could not");
            }
        }
    }

    fn destination(&self, to: Target) -> Destination {
        Destination { team: to.team.map(|team| id(self.heir(team))), user: to.user.map(id) }
    }

    fn place(&self, conversation: usize) -> (State, usize, Option<usize>, Timestamp) {
        let Conversation { state, team, holder, queued_at, .. } = self.conversations[conversation];
        (state, team, holder, queued_at)
    }
}

fn facts((state, team, holder, _): (State, usize, Option<usize>, Timestamp)) -> Facts {
    Facts { state, team: id(team), holder: holder.map(id) }
}
