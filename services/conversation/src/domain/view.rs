//! What one open stream says of each change of a conversation, so that its client ends with what he may see.

use std::collections::HashMap;

use uuid::Uuid;

use super::scope::{Facts, Scope};

/// Of how many conversations the latest version is remembered. Events overtake each other only within one read of the feed.
const REMEMBERED: usize = 256;

/// One change of a conversation, as the feed tells it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The transaction that made it.
    pub transaction: i64,
    /// The conversation.
    pub id: Uuid,
    /// Its version after the change.
    pub version: i64,
    /// As it was; `None`: it is new.
    pub before: Option<Facts>,
    /// As it is.
    pub after: Option<Facts>,
}

/// What is said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// How the conversation is now.
    Changed,
    /// He sees it no longer.
    Gone,
    /// It does not concern him.
    Nothing,
}

/// What the reader of a stream sees.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What he may see.
    pub scope: Scope,
    /// What he could see until lately, each up to a transaction. A conversation that moves on while a scope shrinks is not found
    /// any more where it was, but its later events tell where that had been.
    fading: Vec<(Scope, i64)>,
    /// By conversation: the latest version told, and whether he sees that one.
    latest: HashMap<Uuid, (i64, bool)>,
}

impl View {
    /// He sees this.
    pub fn new(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// His scope has changed from `before`. What he lost by it has been looked for among all that was committed before `until`.
    pub fn faded(&mut self, before: Scope, until: i64) {
        self.fading.push((before, until));
    }

    /// What to say of a change.
    pub fn word(&mut self, change: Change) -> Word {
        self.fading.retain(|(_, until)| change.transaction < *until);
        let sees = change.after.is_some_and(|facts| self.scope.sees(facts));
        let saw = change
            .before
            .is_some_and(|facts| self.scope.sees(facts) || self.fading.iter().any(|(scope, _)| scope.sees(facts)));
        // A transaction with a lower number can commit later, so the newer version comes first. What it said stays true.
        let overtaken = self.latest.get(&change.id).filter(|(version, _)| *version > change.version);
        match overtaken {
            Some((_, true)) => return Word::Nothing,
            Some((_, false)) => return if saw { Word::Gone } else { Word::Nothing },
            None => {}
        }
        if self.latest.len() >= REMEMBERED {
            self.latest.clear();
        }
        self.latest.insert(change.id, (change.version, sees));
        match (sees, saw) {
            (true, _) => Word::Changed,
            (false, true) => Word::Gone,
            (false, false) => Word::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{scope::Level, state::State},
        *,
    };

    const ME: Uuid = Uuid::from_u128(1);
    const TEAM: Uuid = Uuid::from_u128(2);
    const OTHER: Uuid = Uuid::from_u128(3);

    fn facts(state: State, holder: Option<Uuid>) -> Facts {
        Facts { state, team: TEAM, holder }
    }

    fn member() -> Scope {
        Scope::of_member(ME, [(TEAM, Level::Default, Vec::new())])
    }

    fn change(version: i64, before: Facts, after: Facts) -> Change {
        Change { transaction: 10, id: OTHER, version, before: Some(before), after: Some(after) }
    }

    #[test]
    fn what_was_overtaken_brings_nothing_back_and_takes_nothing_away() {
        let (queued, held, mine) =
            (facts(State::Queued, None), facts(State::Open, Some(OTHER)), facts(State::Open, Some(ME)));
        let mut view = View::new(member());
        assert_eq!(view.word(change(3, queued, held)), Word::Gone);
        assert_eq!(view.word(change(2, queued, queued)), Word::Gone);
        let mut view = View::new(member());
        assert_eq!(view.word(change(3, held, mine)), Word::Changed);
        assert_eq!(view.word(change(2, queued, held)), Word::Nothing);
        assert_eq!(view.word(change(4, mine, held)), Word::Gone);
    }

    #[test]
    fn a_lost_scope_tells_what_leaves_until_all_that_was_looked_through_has_come() {
        let (queued, held) = (facts(State::Queued, None), facts(State::Open, Some(OTHER)));
        let mut view = View::new(Scope::default());
        view.faded(member(), 11);
        assert_eq!(view.word(change(2, queued, held)), Word::Gone);
        assert_eq!(view.word(Change { transaction: 11, ..change(4, queued, held) }), Word::Nothing);
    }

    #[test]
    fn the_memory_of_a_stream_is_bounded() {
        let (mut view, queued) = (View::new(member()), facts(State::Queued, None));
        for number in 0..10_000 {
            view.word(Change { id: Uuid::from_u128(number), ..change(1, queued, queued) });
        }
        assert!(view.latest.len() <= REMEMBERED);
    }
}
