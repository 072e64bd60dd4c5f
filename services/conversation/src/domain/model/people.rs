//! What people decide by hand: to whom a conversation goes, or many at once.

use jiff::Timestamp;
use uuid::Uuid;

use super::world::{Conversation, World, id};
use crate::{
    domain::{
        scope::{Facts, Level, Scope},
        state::State,
    },
    flow::{
        close::may_close,
        hand_over::{Destination, is_there},
    },
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

/// Who closes one.
#[derive(Clone, Copy, Debug)]
pub enum Closer {
    Administrator,
    Holder,
    Member(usize),
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

    /// What `flow::close` does.
    pub fn close_by(&mut self, conversation: usize, by: Closer) {
        let place @ (state, team, holder, _) = self.place(conversation);
        let user = match by {
            Closer::Administrator => None,
            Closer::Holder => holder,
            Closer::Member(user) => Some(user),
        };
        let scope = user.map_or_else(|| Scope::of_administrator(Uuid::max()), |user| self.scope(user));
        if !scope.sees(facts(place)) || user.is_some_and(|user| !self.users[user].enabled) {
            return;
        }
        let topics = &self.conversations[conversation].enquiry.topics;
        let mandatory = self.teams[team].mandatory;
        let closed = may_close(&scope, facts(place), (mandatory, topics));
        if mandatory && topics.is_empty() {
            assert!(closed.is_err(), "{by:?} closes without a topic");
        } else {
            let his = user.is_none() || user == holder;
            assert_eq!(closed.is_ok(), his && state != State::Closed, "{by:?} of {place:?}: {closed:?}");
        }
        if closed.is_ok() {
            self.close(conversation);
        }
    }

    fn scope(&self, user: usize) -> Scope {
        let member = |team: &usize| self.teams[*team].slots.get(&user).is_some_and(|slot| slot.member);
        let teams = (0..self.teams.len()).filter(member).map(|team| (id(team), Level::Wide, vec![]));
        Scope::of_member(id(user), teams)
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
