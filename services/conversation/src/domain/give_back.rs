//! Whether a conversation goes back to the agent who had it or its customer before: reopened, woken, or new from a customer who
//! is back. He gets it under the same conditions as any automatic assignment. Pure, so that it can be replayed from the ledger.

use uuid::Uuid;

use super::routing::{Agent, PassedOver, hindrance};

/// What was decided of one conversation and one agent, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The conversation.
    pub conversation: Uuid,
    /// The agent.
    pub agent: Uuid,
    /// The team's limit; `None`: no limit.
    pub limit: Option<i32>,
    /// Whether the team was open.
    pub open: bool,
    /// He as he stood before; `None`: no member of the team.
    pub candidate: Option<Agent>,
    /// Why he does not get it; `None`: he does.
    pub passed_over: Option<PassedOver>,
}

/// Decides it: he gets it if he is ACTIVE, a member of the team, in its hours and below its limit.
pub fn give_back(
    (conversation, agent): (Uuid, Uuid),
    (limit, open): (Option<i32>, bool),
    candidate: Option<Agent>,
) -> Return {
    let passed_over = match &candidate {
        None => Some(PassedOver::NotMember),
        Some(_) if !open => Some(PassedOver::OutOfHours),
        Some(candidate) => hindrance(limit, candidate),
    };
    Return { conversation, agent, limit, open, candidate, passed_over }
}

#[cfg(test)]
mod tests {
    use super::{super::state::Availability, *};

    #[test]
    fn he_gets_it_only_as_an_active_member_in_hours_below_the_limit() {
        let agent = |enabled, availability, open| {
            let user = Uuid::nil();
            Some(Agent { user, enabled, availability, open, automatic: 0, last: None })
        };
        for (open, limit, candidate, expected) in [
            (true, Some(2), agent(true, Availability::Active, 1), None),
            (true, None, agent(true, Availability::Active, 99), None),
            (true, Some(2), agent(true, Availability::Active, 2), Some(PassedOver::Full)),
            (true, None, agent(true, Availability::Watching, 0), Some(PassedOver::Watching)),
            (true, None, agent(true, Availability::Offline, 0), Some(PassedOver::Offline)),
            (true, None, agent(false, Availability::Active, 0), Some(PassedOver::Deactivated)),
            (false, None, agent(true, Availability::Active, 0), Some(PassedOver::OutOfHours)),
            (true, None, None, Some(PassedOver::NotMember)),
        ] {
            let decided = give_back((Uuid::nil(), Uuid::nil()), (limit, open), candidate);
            assert_eq!(decided.passed_over, expected, "{decided:?}");
        }
    }
}
