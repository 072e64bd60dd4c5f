//! The whole of routing without a database, in random order: after every step each promise of it holds. A failure is shrunk to the few
//! steps that it needs.

#[path = "model/bots.rs"]
mod bots;
#[path = "model/people.rs"]
mod people;
#[path = "model/promises.rs"]
mod promises;
#[path = "model/ways.rs"]
mod ways;
#[path = "model/world.rs"]
mod world;

use proptest::{prelude::*, sample::Index, test_runner::Config};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use self::{
    bots::{Talk, Turn, bots_keep_nothing},
    people::{Bulk, Closer, Target},
    promises::{
        assignments_are_fair, counters_equal_a_recount, everything_is_with_an_active_team,
        nobody_idles_while_something_waits, who_holds_one_may,
    },
    ways::{Content, enquiry, topic_ids},
    world::{Conversation, World},
};
use super::{
    rules::Enquiry,
    state::{Availability, Priority, State},
};

const TEAMS: usize = 3;
const USERS: usize = 5;
const TOPICS: usize = 3;

/// What can happen. What does not fit the moment changes nothing.
#[derive(Clone, Debug)]
enum Step {
    Arrive { own: Option<usize>, topics: Vec<usize>, country: bool, sticky: Option<usize> },
    Turn { which: Index, turn: Turn },
    Bot { enabled: bool },
    Take { which: Index, user: usize },
    HandOver { which: Index, to: Target },
    Reassign(Bulk),
    Label { which: Index, topics: Vec<usize> },
    Topic { topic: usize, archived: bool },
    Rule { place: Index, content: Content },
    Unrule(Index),
    Reorder(Index, Index),
    Close { which: Index, by: Closer },
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
    Mandatory { team: usize, mandatory: bool },
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
        prop_oneof![
            8 => in_queues(),
            9 => of_conversations(),
            8 => (any::<Index>(), bots::turn()).prop_map(|(which, turn)| Step::Turn { which, turn }),
            6 => of_people(),
            4 => of_teams(),
            2 => of_rules(),
        ]
        .boxed()
    }

    fn apply((): (), _: &Step) {}
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(Priority::ALL.to_vec())
}

fn topics() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..TOPICS, 0..3)
}

fn sticky() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.2, 0..USERS)
}

fn target() -> impl Strategy<Value = Target> {
    (prop::option::of(0..TEAMS), prop::option::of(0..USERS)).prop_map(|(team, user)| Target { team, user })
}

fn closer() -> impl Strategy<Value = Closer> {
    prop_oneof![2 => Just(Closer::Administrator), 2 => Just(Closer::Holder), 1 => (0..USERS).prop_map(Closer::Member)]
}

fn in_queues() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::option::weighted(0.8, 0..TEAMS), topics(), any::<bool>(), sticky())
            .prop_map(|(own, topics, country, sticky)| Step::Arrive { own, topics, country, sticky }),
        2 => (any::<Index>(), priority()).prop_map(|(which, priority)| Step::Prioritize { which, priority }),
        1 => (any::<Index>(), topics()).prop_map(|(which, topics)| Step::Label { which, topics }),
    ]
}

fn of_conversations() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<Index>(), 0..USERS).prop_map(|(which, user)| Step::Take { which, user }),
        3 => (any::<Index>(), target()).prop_map(|(which, to)| Step::HandOver { which, to }),
        1 => (prop::option::of(0..USERS), prop::option::of(0..TEAMS), any::<bool>(), target())
            .prop_map(|(holder, team, queued, to)| Step::Reassign(Bulk { holder, team, queued, to })),
        4 => (any::<Index>(), closer()).prop_map(|(which, by)| Step::Close { which, by }),
        1 => any::<Index>().prop_map(Step::Reopen),
        1 => any::<Index>().prop_map(Step::Snooze),
        1 => any::<Index>().prop_map(Step::Wake),
        3 => any::<Index>().prop_map(Step::Unanswered),
        1 => any::<Index>().prop_map(Step::Answered),
    ]
}

fn of_rules() -> impl Strategy<Value = Step> {
    let bot = prop::bool::weighted(0.4);
    let content = (topics(), any::<bool>(), 0..TEAMS, prop::option::of(priority()), topics(), bot);
    let content = content.prop_map(|(topics, country, team, priority, adds, bot)| Content {
        topics,
        country,
        team,
        priority,
        adds,
        bot,
    });
    prop_oneof![
        4 => (any::<Index>(), content).prop_map(|(place, content)| Step::Rule { place, content }),
        1 => any::<Index>().prop_map(Step::Unrule),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Step::Reorder(one, other)),
        1 => (0..TOPICS, any::<bool>()).prop_map(|(topic, archived)| Step::Topic { topic, archived }),
        1 => prop::bool::weighted(0.7).prop_map(|enabled| Step::Bot { enabled }),
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
        1 => (0..TEAMS, any::<bool>()).prop_map(|(team, mandatory)| Step::Mandatory { team, mandatory }),
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
        while world.time_out() {
            world.route();
        }
        world
    }

    fn check_invariants(world: &World, (): &()) {
        counters_equal_a_recount(world);
        nobody_idles_while_something_waits(world);
        assignments_are_fair(world);
        everything_is_with_an_active_team(world);
        who_holds_one_may(world);
        bots_keep_nothing(world);
    }
}

fn happen(world: &mut World, step: Step) {
    match step {
        Step::Arrive { own, topics, country, sticky } => {
            let number = arrive(world, own, (&topics, country));
            // What is with a bot is offered when it leaves it.
            if let Some(agent) = sticky.filter(|_| world.conversations[number].state == State::Queued) {
                world.give_back(number, agent);
            }
        }
        Step::Turn { which, turn } => world.turn(which, turn),
        Step::Reassign(bulk) => world.reassign(bulk),
        Step::Rule { place, content } => world.add_rule(place.index(world.rules.len() + 1), &content),
        Step::Unrule(rule) if !world.rules.is_empty() => drop(world.rules.remove(rule.index(world.rules.len()))),
        Step::Reorder(one, other) if !world.rules.is_empty() => {
            let rules = world.rules.len();
            world.rules.swap(one.index(rules), other.index(rules));
        }
        Step::Bot { enabled } => world.enable_bot(enabled),
        Step::Topic { topic, archived } => {
            for topic in topic_ids(&[topic]) {
                if archived {
                    world.archived_topics.insert(topic)
                } else {
                    world.archived_topics.remove(&topic)
                };
            }
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
        Step::Mandatory { team, mandatory } => world.teams[team].mandatory = mandatory,
        Step::Reassigns { team, reassigns } => world.teams[team].reassigns = reassigns,
        Step::Archive { team, to } if world.teams[team].archived_to.is_none() && world.heir(to) != team => {
            let to = world.heir(to);
            world.archive(team, to);
        }
        Step::Unarchive { team } => world.teams[team].archived_to = None,
        Step::Archive { .. } | Step::Unrule(_) | Step::Reorder(..) => {}
        other => to_conversation(world, other),
    }
}

fn arrive(world: &mut World, own: Option<usize>, (topics, country): (&[usize], bool)) -> usize {
    let asked = enquiry(topics, country);
    let asked = Enquiry { topics: world.in_use(&asked.topics), ..asked };
    let way = world.way(&asked, own);
    world.conversations.push(Conversation {
        team: way.team,
        state: if way.bot { State::Bot } else { State::Queued },
        holder: None,
        last_holder: None,
        priority: way.priority.unwrap_or_default(),
        queued_at: world.now,
        version: 1,
        asked: vec![],
        enquiry: Enquiry { topics: way.topics, ..asked },
        talk: way.bot.then(|| Talk::begin(world.now)),
    });
    world.conversations.len() - 1
}

fn to_conversation(world: &mut World, step: Step) {
    let (Step::Take { which, .. }
    | Step::HandOver { which, .. }
    | Step::Close { which, .. }
    | Step::Reopen(which)
    | Step::Snooze(which)
    | Step::Wake(which)
    | Step::Unanswered(which)
    | Step::Answered(which)
    | Step::Label { which, .. }
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
        (Step::HandOver { to, .. }, State::Bot | State::Queued | State::Open | State::Snoozed) => {
            world.hand_over(number, to);
        }
        (Step::Close { by, .. }, _) => world.close_by(number, by),
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
        (Step::Label { topics, .. }, _) => world.label(number, &topics),
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

prop_state_machine! {
    #![proptest_config(Config { cases: 3000, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() })]
    #[test]
    fn every_promise_of_the_routing_holds_after_every_step(sequential 1..120 => Office);
}
