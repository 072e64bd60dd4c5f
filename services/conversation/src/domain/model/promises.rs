//! What holds after every step.

use super::world::{Conversation, World, number};
use crate::domain::{
    routing::hindrance,
    state::{Availability, State},
};

pub fn counters_equal_a_recount(world: &World) {
    for (number, team) in world.teams.iter().enumerate() {
        for (user, slot) in &team.slots {
            let held = |found: &&Conversation| {
                found.team == number && found.holder == Some(*user) && found.state == State::Open
            };
            let count = world.conversations.iter().filter(held).count();
            assert_eq!(usize::try_from(slot.open), Ok(count), "team {number}, user {user}");
        }
    }
}

pub fn everything_is_with_an_active_team(world: &World) {
    let active = |team: usize| world.teams[team].archived_to.is_none();
    for found in &world.conversations {
        assert!(found.state == State::Closed || active(found.team), "{found:?} has no team");
    }
    let named = world.rules.iter().map(|rule| number(rule.team)).find(|team| !active(*team));
    assert_eq!(named, None, "a rule names an archived team");
    assert!(active(world.fallback), "what nothing else says goes nowhere");
}

pub fn who_holds_one_may(world: &World) {
    for found in &world.conversations {
        assert_eq!(found.holder.is_some(), matches!(found.state, State::Open | State::Snoozed), "{found:?}");
        assert!(found.holder.is_none_or(|holder| world.users[holder].enabled), "{found:?} is held by nobody");
    }
}

pub fn nobody_idles_while_something_waits(world: &World) {
    for (number, team) in world.teams.iter().enumerate() {
        if !team.open || world.waiting(number).is_empty() {
            continue;
        }
        let idle = world.agents(number).into_iter().find(|agent| hindrance(team.limit, agent).is_none());
        assert_eq!(idle, None, "team {number} has something that waits");
    }
}

/// Without a limit any two have got as many, give or take one, over every time in which both were eligible, whenever it begins and ends.
/// What another one did not answer does not count.
pub fn assignments_are_fair(world: &World) {
    for (number, team) in world.teams.iter().enumerate().filter(|(_, team)| team.limit.is_none()) {
        let active = |user: usize| world.users[user].availability == Availability::Active;
        let eligible: Vec<_> = team.slots.iter().filter(|(user, slot)| slot.member && active(**user)).collect();
        for (place, (one, his)) in eligible.iter().enumerate() {
            for (other, theirs) in &eligible[..place] {
                // Whoever becomes eligible in a step does so before its assignments.
                let since = his.eligible_since.max(theirs.eligible_since).max(team.unlimited_since);
                let (mut lead, mut least, mut most) = (0, 0, 0);
                for (_, user) in team.log.iter().filter(|(step, _)| *step >= since) {
                    lead += i32::from(user == *one) - i32::from(user == *other);
                    (least, most) = (lead.min(least), lead.max(most));
                }
                assert!(most - least <= 1, "team {number}: {one} and {other} since step {since}, {least} to {most}");
            }
        }
    }
}
