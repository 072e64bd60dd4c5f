//! Each comparison of the routing has its reason, and the reasons agree with what it decides.

use std::time::Duration;

use diwan_runtime::clock::after;
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    super::{
        routing::{Waiting, decide},
        state::Priority,
    },
    *,
};

fn agent(number: u128, open: i32, automatic: i64, last: Option<u64>) -> Agent {
    let last = last.map(|second| after(Timestamp::UNIX_EPOCH, Duration::from_secs(second)));
    let availability = Availability::Active;
    Agent { user: Uuid::from_u128(number), enabled: true, availability, open, automatic, last }
}

#[test]
fn each_comparison_that_the_routing_makes_has_its_reason() {
    let chosen = agent(1, 1, 1, Some(5));
    for (limit, other, expected) in [
        (Some(3), agent(2, 2, 0, None), Some(Reason::HigherShare)),
        (None, agent(2, 0, 2, None), Some(Reason::HigherCount)),
        (Some(3), agent(2, 1, 0, Some(6)), Some(Reason::LaterAssignment)),
        (None, agent(2, 9, 1, Some(6)), Some(Reason::LaterAssignment)),
        (None, agent(2, 1, 1, Some(5)), Some(Reason::LaterId)),
        (Some(2), agent(2, 2, 0, None), Some(Reason::Hindered(PassedOver::Full))),
        (None, chosen.clone(), None),
    ] {
        let turn = Turn { limit, chosen: Some(&chosen), asked: &[] };
        assert_eq!(turn.why_not(&other), expected, "{other:?}");
    }
    let nobody = Turn { limit: None, chosen: None, asked: &[] };
    assert_eq!(nobody.why_not(&chosen), None, "whoever could get one");
    let asked = Turn { limit: None, chosen: Some(&chosen), asked: &[Uuid::from_u128(2)] };
    assert_eq!(asked.why_not(&agent(2, 0, 0, None)), Some(Reason::DidNotAnswer));
    assert_eq!(asked.why_not(&agent(3, 2, 0, None)), Some(Reason::HigherShare), "whatever had been given to him");
}

#[test]
fn what_waits_says_what_it_waits_for() {
    let why = |limit, open, agents: &[Agent], given| {
        why_waiting(open, agents, &decide(limit, agents, &[], Timestamp::UNIX_EPOCH), given)
    };
    let free = agent(1, 1, 0, None);
    let away = Agent { availability: Availability::Watching, ..free.clone() };
    assert_eq!(why(None, true, &[], false), Wait::NoMembers);
    assert_eq!(why(None, false, std::slice::from_ref(&free), false), Wait::OutOfHours);
    assert_eq!(why(None, true, std::slice::from_ref(&away), false), Wait::NobodyActive);
    assert_eq!(why(Some(1), true, &[free.clone(), away], false), Wait::AllAtLimit);
    assert_eq!(why(Some(2), true, std::slice::from_ref(&free), true), Wait::Due);
    assert_eq!(why(Some(2), true, &[free], false), Wait::BehindOthers);
}

proptest! {
    /// What comes first among those who could have is who gets it when the chosen one is not there.
    #[test]
    fn the_order_of_the_candidates_is_the_order_in_which_the_routing_chooses(
        limit in prop::option::of(1..4_i32),
        drawn in prop::collection::vec((0..4_i32, 0..4_i64, prop::option::of(0..4_u64), any::<bool>()), 1..6),
        again in any::<bool>(),
    ) {
        let one = |(number, (open, automatic, last, there)): (u128, (i32, i64, Option<u64>, bool))| {
            let availability = if there { Availability::Active } else { Availability::Offline };
            Agent { availability, ..agent(number, open, automatic, last) }
        };
        let mut agents: Vec<Agent> = (1..).zip(drawn).map(one).collect();
        let waiting = Waiting {
            conversation: Uuid::max(),
            version: 1,
            priority: Priority::Normal,
            queued_at: Timestamp::UNIX_EPOCH,
            // By somebody who has left since.
            asked: if again { vec![Uuid::max()] } else { Vec::new() },
        };
        let chosen = |agents: &[Agent]| {
            let made = decide(limit, agents, std::slice::from_ref(&waiting), Timestamp::UNIX_EPOCH);
            made.assignments.first().map(|made| made.user)
        };
        let first = chosen(&agents);
        let found = first.and_then(|user| agents.iter().find(|agent| agent.user == user).cloned());
        let turn = Turn { limit, chosen: found.as_ref(), asked: &waiting.asked };
        for (agent, reason) in turn.in_order(agents.clone()) {
            prop_assert_eq!(reason.is_none(), Some(agent.user) == first);
            let next = chosen(&agents);
            let hindered = matches!(reason, Some(Reason::Hindered(_)));
            prop_assert_eq!(next, (!hindered).then_some(agent.user));
            agents.retain(|other| other.user != agent.user);
        }
    }
}

#[test]
fn every_reason_has_its_texts() {
    let hindered = [
        PassedOver::Deactivated,
        PassedOver::Offline,
        PassedOver::Watching,
        PassedOver::Full,
        PassedOver::NotMember,
        PassedOver::OutOfHours,
    ];
    let compared =
        [Reason::HigherShare, Reason::HigherCount, Reason::LaterAssignment, Reason::LaterId, Reason::DidNotAnswer];
    let waits =
        [Wait::NoMembers, Wait::OutOfHours, Wait::NobodyActive, Wait::AllAtLimit, Wait::BehindOthers, Wait::Due];
    let reasons = hindered.map(Reason::Hindered).into_iter().chain(compared).map(Reason::text);
    for text in reasons.chain(waits.map(Wait::text)) {
        assert!(diwan_fault::has_texts(text), "{text}");
    }
}
