//! Who may do what with a conversation that he sees. The one place that says it.

use diwan_access::User;

use crate::domain::{scope::Facts, state::State};

/// Whether he directs the work on a conversation, whoever holds it: owner and admins.
pub fn directs(caller: &User) -> bool {
    caller.is_administrator()
}

/// Whether he may close it, hand it over or put it off: its holder, or who directs him.
pub fn may_act(caller: &User, facts: Facts) -> bool {
    facts.holder == Some(caller.user_id) || directs(caller)
}

/// Whether he may say how urgent it is and what it is about: of an unassigned one whoever sees it, since he may take it too.
pub fn may_label(caller: &User, facts: Facts) -> bool {
    may_act(caller, facts) || matches!(facts.state, State::Queued | State::Bot)
}
