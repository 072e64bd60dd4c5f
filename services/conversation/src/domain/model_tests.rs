//! The whole of routing without a database, in random order: after every step each promise of it holds. A failure is shrunk to the few
//! steps that it needs.

#[path = "model/world.rs"]
mod world;

use proptest::{prelude::*, sample::Index, test_runner::Config};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use self::world::{Conversation, World};
use super::{
    routing::hindrance,
    state::{Availability, Priority, State},
};

const TEAMS: usize = 3;
const USERS: usize = 5;

/// What can happen. What does not fit the moment changes nothing.
#[derive(Clone, Debug)]
enum Step {
    Arrive { team: usize, priority: Priority, sticky: Option<usize> },
    StartWithBot { team: usize, priority: Priority },
    BotHandsOver { which: Index, team: usize, sticky: Option<usize> },
    BotFails(Index),
    Take { which: Index, user: usize },
    HandOver { which: Index, team: usize },
    Close(Index),
    Reopen(Index),
    Snooze(Index),
    Wake(Index),
    Prioritize { which: Index, priority: Priority },
    Unanswered(Index),
    Answered(Index),
    Become { user: usize, availability: Availability },
    Enable { user: usize, enabled: bool },
    Member { team: usize, user: usize, member: bool },
    Limit { team: usize, limit: Option<i32> },
    Hours { team: usize, open: bool },
    Reassigns { team: usize, reassigns: bool },
    Archive { team: usize, to: usize },
    Unarchive { team: usize },
}

/// The steps need no state of their own: any may follow any other.
struct Steps;

impl ReferenceStateMachine for Steps {
    type State = ();
    type Transition = Step;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Step> {
        prop_oneof![4 => in_queues(), 4 => of_conversations(), 3 => of_people(), 2 => of_teams()].boxed()
    }

    fn apply((): (), _: &Step) {}
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(Priority::ALL.to_vec())
}

fn in_queues() -> impl Strategy<Value = Step> {
    let sticky = prop::option::weighted(0.2, 0..USERS);
    prop_oneof![
        3 => (0..TEAMS, priority(), sticky).prop_map(|(team, priority, sticky)| Step::Arrive { team, priority, sticky }),
        1 => (0..TEAMS, priority()).prop_map(|(team, priority)| Step::StartWithBot { team, priority }),
        1 => (any::<Index>(), priority()).prop_map(|(which, priority)| Step::Prioritize { which, priority }),
    ]
}

fn of_conversations() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<Index>(), 0..USERS).prop_map(|(which, user)| Step::Take { which, user }),
        1 => (any::<Index>(), 0..TEAMS).prop_map(|(which, team)| Step::HandOver { which, team }),
        3 => any::<Index>().prop_map(Step::Close),
        1 => any::<Index>().prop_map(Step::Reopen),
        1 => (any::<Index>(), 0..TEAMS, prop::option::weighted(0.2, 0..USERS))
            .prop_map(|(which, team, sticky)| Step::BotHandsOver { which, team, sticky }),
        1 => any::<Index>().prop_map(Step::BotFails),
        1 => any::<Index>().prop_map(Step::Snooze),
        1 => any::<Index>().prop_map(Step::Wake),
        3 => any::<Index>().prop_map(Step::Unanswered),
        1 => any::<Index>().prop_map(Step::Answered),
    ]
}

fn of_people() -> impl Strategy<Value = Step> {
    let availability = prop_oneof![3 => Just(Availability::Active), 1 => Just(Availability::Watching), 1 => Just(Availability::Offline)];
    prop_oneof![
        4 => (0..USERS, availability).prop_map(|(user, availability)| Step::Become { user, availability }),
        1 => (0..USERS, prop::bool::weighted(0.6)).prop_map(|(user, enabled)| Step::Enable { user, enabled }),
        3 => (0..TEAMS, 0..USERS, prop::bool::weighted(0.6))
            .prop_map(|(team, user, member)| Step::Member { team, user, member }),
    ]
}

fn of_teams() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..TEAMS, prop::option::of(1..4_i32)).prop_map(|(team, limit)| Step::Limit { team, limit }),
        2 => (0..TEAMS, prop::bool::weighted(0.6)).prop_map(|(team, open)| Step::Hours { team, open }),
        1 => (0..TEAMS, any::<bool>()).prop_map(|(team, reassigns)| Step::Reassigns { team, reassigns }),
        1 => (0..TEAMS, 0..TEAMS).prop_map(|(team, to)| Step::Archive { team, to }),
        1 => (0..TEAMS).prop_map(|team| Step::Unarchive { team }),
    ]
}

struct Office;

impl StateMachineTest for Office {
    type SystemUnderTest = World;
    type Reference = Steps;

    fn init_test((): &()) -> World {
        World::new(TEAMS, USERS)
    }

    fn apply(mut world: World, (): &(), step: Step) -> World {
        world.tick();
        happen(&mut world, step);
        world.route();
        world
    }

    fn check_invariants(world: &World, (): &()) {
        counters_equal_a_recount(world);
        nobody_idles_while_something_waits(world);
        assignments_are_fair(world);
        for found in &world.conversations {
            assert!(
                found.state == State::Closed || world.teams[found.team].archived_to.is_none(),
                "{found:?} has no team"
            );
            assert_eq!(found.holder.is_some(), matches!(found.state, State::Open | State::Snoozed), "{found:?}");
        }
    }
}

fn happen(world: &mut World, step: Step) {
    match step {
        Step::Arrive { team, priority, sticky } => {
            let number = arrive(world, (team, State::Queued), priority);
            if let Some(agent) = sticky {
                world.give_back(number, agent);
            }
        }
        Step::StartWithBot { team, priority } => {
            arrive(world, (team, State::Bot), priority);
        }
        Step::Become { user, availability } => {
            let became = world.users[user].enabled && world.users[user].availability != availability;
            if became && availability == Availability::Active {
                world.start_at_minimum(user, None);
            }
            if became {
                world.users[user].availability = availability;
            }
            if became && availability == Availability::Offline {
                world.left_by(user);
            }
        }
        Step::Enable { user, enabled } => {
            world.users[user].enabled = enabled;
            if !enabled {
                world.users[user].availability = Availability::Offline;
                world.take_away(user, None);
            }
        }
        Step::Member { team, user, member } => join_or_leave(world, team, user, member),
        Step::Limit { team, limit } => limited(world, team, limit),
        Step::Hours { team, open } => world.teams[team].open = open,
        Step::Reassigns { team, reassigns } => world.teams[team].reassigns = reassigns,
        Step::Archive { team, to } if world.teams[team].archived_to.is_none() && world.heir(to) != team => {
            let to = world.heir(to);
            world.archive(team, to);
        }
        Step::Unarchive { team } => world.teams[team].archived_to = None,
        Step::Archive { .. } => {}
        other => to_conversation(world, other),
    }
}

fn arrive(world: &mut World, (team, state): (usize, State), priority: Priority) -> usize {
    let (team, queued_at) = (world.heir(team), world.now);
    let (holder, last_holder) = (None, None);
    let new = Conversation { team, state, holder, last_holder, priority, queued_at, version: 1, asked: vec![] };
    world.conversations.push(new);
    world.conversations.len() - 1
}

fn to_conversation(world: &mut World, step: Step) {
    let (Step::Take { which, .. }
    | Step::HandOver { which, .. }
    | Step::BotHandsOver { which, .. }
    | Step::BotFails(which)
    | Step::Close(which)
    | Step::Reopen(which)
    | Step::Snooze(which)
    | Step::Wake(which)
    | Step::Unanswered(which)
    | Step::Answered(which)
    | Step::Prioritize { which, .. }) = &step
    else {
        return;
    };
    if world.conversations.is_empty() {
        return;
    }
    let number = which.index(world.conversations.len());
    let Conversation { team, state, last_holder, .. } = world.conversations[number];
    match (step, state) {
        // Taking and being given both go above the limit.
        (Step::Take { user, .. }, State::Bot | State::Queued | State::Open) if world.users[user].enabled => {
            world.hold(number, user);
        }
        (Step::BotHandsOver { team, sticky, .. }, State::Bot) => {
            world.leave_bot(number, Some(team));
            if let Some(agent) = sticky {
                world.give_back(number, agent);
            }
        }
        (Step::BotFails(_), State::Bot) => world.leave_bot(number, None),
        (Step::HandOver { team, .. }, State::Bot | State::Queued | State::Open | State::Snoozed) => {
            world.queue(number, world.heir(team), world.now);
        }
        (Step::Close(_), State::Bot | State::Queued | State::Open | State::Snoozed) => world.close(number),
        (Step::Snooze(_), State::Open) => world.snooze(number),
        (Step::Reopen(_), State::Closed) | (Step::Wake(_), State::Snoozed) => {
            // A closed one reopens with whatever team is active in its team's place.
            world.conversations[number].team = if state == State::Closed { world.heir(team) } else { team };
            let team = world.conversations[number].team;
            match last_holder {
                Some(agent) => world.give_back(number, agent),
                None => world.queue(number, team, world.now),
            }
        }
        (Step::Unanswered(_), State::Open) => world.unanswered(number),
        (Step::Answered(_), State::Open | State::Snoozed) => world.conversations[number].asked.clear(),
        (Step::Prioritize { priority, .. }, _) => world.conversations[number].priority = priority,
        _ => {}
    }
}

fn join_or_leave(world: &mut World, team: usize, user: usize, member: bool) {
    if world.slot(team, user).member == member {
        return;
    }
    world.slot(team, user).member = member;
    if member {
        world.start_at_minimum(user, Some(team));
    } else {
        world.take_away(user, Some(team));
    }
}

fn limited(world: &mut World, team: usize, limit: Option<i32>) {
    let step = world.step;
    let found = &mut world.teams[team];
    if limit.is_none() && found.limit.is_some() {
        for slot in found.slots.values_mut() {
            slot.automatic = 0;
        }
        found.unlimited_since = step;
    }
    found.limit = limit;
}

fn counters_equal_a_recount(world: &World) {
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

fn nobody_idles_while_something_waits(world: &World) {
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
fn assignments_are_fair(world: &World) {
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

prop_state_machine! {
    #![proptest_config(Config { cases: 3000, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() })]
    #[test]
    fn every_promise_of_the_routing_holds_after_every_step(sequential 1..120 => Office);
}
