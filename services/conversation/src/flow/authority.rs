//! Who may do what with a conversation that he sees. The one place that says it.

use uuid::Uuid;

use crate::{
    Error,
    domain::{
        scope::{Facts, Scope},
        state::State,
    },
};

/// Whether he directs the work of a team, whoever holds what: owner and admins of every one, leads of theirs.
///
/// Of a conversation it is the team that it is with which counts: one that is handed out of a team has left the power of its leads. The
/// mark stays while a team is archived, and so does this, over what is still there.
pub fn directs(scope: &Scope, team: Uuid) -> bool {
    scope.everything || scope.led.contains(&team)
}

/// Refuses whoever directs no team at all, as the door refuses those whom a method is not for.
///
/// # Errors
/// [`Error::NotAllowed`].
pub fn require_director(scope: &Scope) -> Result<(), Error> {
    if scope.everything || !scope.led.is_empty() { Ok(()) } else { Err(Error::NotAllowed) }
}

/// Whether he may close it, hand it over or put it off: its holder, or who directs him.
pub fn may_act(scope: &Scope, facts: Facts) -> bool {
    facts.holder == Some(scope.user) || directs(scope, facts.team)
}

/// Whether he may say how urgent it is and what it is about: of an unassigned one whoever sees it, since he may take it too.
pub fn may_label(scope: &Scope, facts: Facts) -> bool {
    may_act(scope, facts) || matches!(facts.state, State::Queued | State::Bot)
}
