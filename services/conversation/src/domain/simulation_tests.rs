//! The replay against a shop that keeps its history: what it recorded comes out again, and under other settings the replay says what
//! the shop does under them.

#[path = "simulation/shop.rs"]
mod shop;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use proptest::prelude::*;

use self::shop::{Act, Records, Shop, at, person};
use super::{outcome::Share, *};
use crate::domain::state::{Availability, Priority};

const USERS: usize = 4;
const CONVERSATIONS: usize = 25;

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let availability = prop_oneof![
        3 => Just(Availability::Active),
        1 => Just(Availability::Watching),
        1 => Just(Availability::Offline)
    ];
    let act = prop_oneof![
        8 => (1..400_u64, prop::sample::select(Priority::ALL.to_vec()))
            .prop_map(|(handling, priority)| Act::Arrive { handling, priority }),
        3 => (0..USERS, availability).prop_map(|(user, availability)| Act::Become { user, availability }),
        1 => (0..USERS, prop::bool::weighted(0.7)).prop_map(|(user, member)| Act::Member { user, member }),
        1 => prop::option::of(1..4_i32).prop_map(Act::Limit),
        2 => (0..CONVERSATIONS, 0..USERS).prop_map(|(which, user)| Act::Take { which, user }),
        1 => (0..CONVERSATIONS).prop_map(|which| Act::Leave { which }),
    ];
    let acts = prop::collection::vec((1..40_u64, act), 1..90);
    acts.prop_map(|acts| {
        let mut second = 0;
        let timed = acts.into_iter().map(|(pause, act)| {
            second += pause;
            (second, act)
        });
        timed.collect()
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let limit = prop::option::of(prop::option::of(1..4_i32));
    (limit, prop::collection::btree_set(0..USERS, 0..2)).prop_map(|(limit, removed)| Plan {
        limit,
        removed: removed.into_iter().map(person).collect(),
        ..Plan::default()
    })
}

fn replayed(plan: &Plan, records: &Records, from: Timestamp, to: Timestamp) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let mut replay = Replay::new(plan.clone(), records.history(), from, (Duration::ZERO, stop));
    for (id, at, kind, entry) in &records.decisions {
        replay.decided((*id, *at), *kind, entry);
    }
    replay.finish(to)
}

fn assert_reproduced(outcome: &Outcome, records: &Records) {
    assert_eq!(outcome.decisions, i64::try_from(records.decisions.len()).unwrap());
    assert_eq!(outcome.reproduced, outcome.decisions);
    assert!(outcome.differences.is_empty(), "{:?}", outcome.differences);
    assert_eq!(outcome.recorded, outcome.simulated);
}

/// Who gets each conversation in the simulated course, by the differences to the recorded one.
fn simulated(outcome: &Outcome, records: &Records) -> BTreeMap<Uuid, (Uuid, Timestamp)> {
    let mut got = records.got.clone();
    for difference in &outcome.differences {
        match difference.simulated {
            Some((user, at, _)) => got.insert(difference.conversation, (user, at)),
            None => got.remove(&difference.conversation),
        };
    }
    got
}

/// What the replay says of a plan is what the shop does that works by it.
fn assert_says_what_the_shop_does(acts: &[(u64, Act)], plan: &Plan) {
    let records = Shop::run(acts, &Plan::default(), None);
    let expected = Shop::run(acts, plan, Some(&records)).got;
    let said = simulated(&replayed(plan, &records, at(0), at(10_000)), &records);
    assert_eq!(said.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (conversation, (user, at)) in expected {
        let (simulated, then) = said[&conversation];
        assert_eq!(simulated, user, "{conversation}");
        assert!(at.duration_since(then).unsigned_abs() <= Duration::from_secs(1), "{at} {then}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_unchanged_settings_every_decision_comes_out_as_it_was(acts in acts(), begins in 0..2000_u64) {
        let records = Shop::run(&acts, &Plan::default(), None);
        assert_reproduced(&replayed(&Plan::default(), &records, at(0), at(10_000)), &records);
        // From the middle of it too.
        let outcome = replayed(&Plan::default(), &records, at(begins), at(10_000));
        prop_assert_eq!(outcome.reproduced, outcome.decisions);
        prop_assert!(outcome.differences.is_empty());
    }

    #[test]
    fn a_setting_that_is_named_but_is_what_it_was_changes_nothing(acts in acts(), limit in prop::option::of(1..4_i32)) {
        let steady = acts.into_iter().filter(|(_, act)| !matches!(act, Act::Limit(_)));
        let acts: Vec<_> = [(0, Act::Limit(limit))].into_iter().chain(steady).collect();
        let records = Shop::run(&acts, &Plan::default(), None);
        let named = Plan { limit: Some(limit), ..Plan::default() };
        assert_reproduced(&replayed(&named, &records, at(0), at(10_000)), &records);
    }

    /// Clocks of processes differ, and what is committed last can have begun first.
    #[test]
    fn times_that_are_off_by_a_little_do_not_keep_a_decision_from_coming_out(acts in acts(), shift in 0..7_u64) {
        let mut records = Shop::run(&acts, &Plan::default(), None);
        records.blur(shift);
        let outcome = replayed(&Plan::default(), &records, at(0), at(10_000));
        prop_assert_eq!(outcome.reproduced, i64::try_from(records.decisions.len()).unwrap());
    }

    #[test]
    fn under_other_settings_it_says_what_the_shop_does_under_them(acts in acts(), plan in plan()) {
        assert_says_what_the_shop_does(&acts, &plan);
    }

    #[test]
    fn a_damaged_decision_is_not_reproduced(acts in acts(), which in any::<prop::sample::Index>()) {
        let mut records = Shop::run(&acts, &Plan::default(), None);
        prop_assume!(!records.decisions.is_empty());
        let which = which.index(records.decisions.len());
        prop_assume!(records.damage(which));
        let outcome = replayed(&Plan::default(), &records, at(0), at(10_000));
        prop_assert!(outcome.reproduced < outcome.decisions);
    }
}

fn longest(figures: &Figures) -> u64 {
    figures.wait(100).unwrap().as_secs()
}

#[test]
fn a_higher_limit_shortens_the_waits_and_a_removed_member_gets_nothing() {
    let arrive = |second| (second, Act::Arrive { handling: 600, priority: Priority::Normal });
    let active = |user| (1, Act::Become { user, availability: Availability::Active });
    let acts = [(0, Act::Limit(Some(1))), active(0), active(1), arrive(10), arrive(20), arrive(30), arrive(40)];
    let records = Shop::run(&acts, &Plan::default(), None);
    let higher = replayed(&Plan { limit: Some(Some(2)), ..Plan::default() }, &records, at(0), at(10_000));
    assert_eq!((longest(&higher.recorded), longest(&higher.simulated)), (580, 0));
    assert_eq!(higher.differences.len(), 2);
    let alone = Plan { removed: [person(1)].into(), ..Plan::default() };
    let alone = replayed(&alone, &records, at(0), at(10_000));
    assert_eq!(alone.agents[&person(1)], Share { recorded: 2, simulated: 0 });
    assert_eq!((alone.simulated.assignments, longest(&alone.simulated)), (4, 1770));
}

#[test]
fn counts_do_not_start_over_when_a_limit_is_lifted_that_the_plan_does_not_know() {
    let arrive = |second| (second, Act::Arrive { handling: 1, priority: Priority::Low });
    let turns = |second, user, availability| (second, Act::Become { user, availability });
    let mut acts = vec![(1, Act::Limit(Some(2))), turns(2, 0, Availability::Active), arrive(3)];
    acts.extend([turns(4, 3, Availability::Active), arrive(5), arrive(6), arrive(7)]);
    acts.extend([turns(8, 1, Availability::Active), (9, Act::Limit(None)), arrive(10)]);
    acts.extend([turns(11, 0, Availability::Watching), turns(12, 2, Availability::Active)]);
    acts.extend((13..20).map(arrive));
    acts.extend([turns(20, 2, Availability::Watching), turns(21, 2, Availability::Active), arrive(22), arrive(23)]);
    assert_says_what_the_shop_does(&acts, &Plan { limit: Some(None), ..Plan::default() });
}

#[test]
fn other_hours_give_out_when_they_begin() {
    let mut schedule = diwan_hours::Schedule::default();
    let opens = at(3600).to_zoned(jiff::tz::TimeZone::UTC);
    let minute = i16::from(opens.hour()) * 60 + i16::from(opens.minute());
    schedule.set(opens.weekday(), vec![diwan_hours::Shift { start: minute, end: minute + 60 }]);
    let acts = [
        (1, Act::Become { user: 0, availability: Availability::Active }),
        (10, Act::Arrive { handling: 60, priority: Priority::Normal }),
    ];
    let records = Shop::run(&acts, &Plan::default(), None);
    let plan = Plan { hours: Some(Some(Hours::new(schedule, "UTC"))), ..Plan::default() };
    let outcome = replayed(&plan, &records, at(0), at(10_000));
    assert_eq!((longest(&outcome.recorded), longest(&outcome.simulated)), (0, 3590));
}
