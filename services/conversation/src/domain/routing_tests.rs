//! Properties of the decision, and that it equals the plainest way of saying the rules.

use proptest::prelude::*;

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn now() -> Timestamp {
    time(10_000)
}

fn agent(number: u128, open: i32, automatic: i64) -> Agent {
    Agent {
        user: Uuid::from_u128(number),
        enabled: true,
        availability: Availability::Active,
        open,
        automatic,
        last: None,
    }
}

fn queue(length: u128) -> Vec<Waiting> {
    let waiting = |number| Waiting {
        conversation: Uuid::from_u128(number),
        version: 1,
        priority: Priority::Normal,
        queued_at: time(0),
        asked: Vec::new(),
    };
    (0..length).map(waiting).collect()
}

fn receivers(decision: &Decision) -> Vec<u128> {
    decision.assignments.iter().map(|made| made.user.as_u128()).collect()
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let availability = prop_oneof![
        4 => Just(Availability::Active),
        1 => Just(Availability::Watching),
        1 => Just(Availability::Offline)
    ];
    let one = (prop::bool::weighted(0.9), availability, 0..6_i32, 0..8_i64, prop::option::of(0..5_i64));
    prop::collection::vec(one, 0..8).prop_map(|drawn| {
        let agent = |(number, (enabled, availability, open, automatic, last)): (u128, (_, _, _, _, Option<i64>))| {
            Agent { user: Uuid::from_u128(number), enabled, availability, open, automatic, last: last.map(time) }
        };
        (1..).zip(drawn).map(agent).collect()
    })
}

fn waiting() -> impl Strategy<Value = Vec<Waiting>> {
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let asked = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec((1..9_u128).prop_map(Uuid::from_u128), 1..9)];
    prop::collection::vec((priority, 0..4_i64, asked), 0..30).prop_map(|drawn| {
        let one = |(number, (priority, second, asked))| Waiting {
            conversation: Uuid::from_u128(number),
            version: 1,
            priority,
            queued_at: time(second),
            asked,
        };
        (0..).zip(drawn).map(one).collect()
    })
}

fn limit() -> impl Strategy<Value = Option<i32>> {
    prop::option::of(1..5_i32)
}

/// The rules as they are told, without a heap: for each conversation look at everybody anew.
fn plainly(limit: Option<i32>, agents: &[Agent], waiting: &[Waiting]) -> Vec<(Uuid, Uuid)> {
    let mut agents = agents.to_vec();
    let mut waiting = waiting.to_vec();
    waiting.sort_by_key(|waiting| (-waiting.priority.level(), waiting.queued_at, waiting.conversation));
    let mut made = Vec::new();
    for (place, waiting) in (0..).zip(waiting) {
        let free = |agent: &&mut Agent| {
            agent.enabled && agent.availability == Availability::Active && limit.is_none_or(|limit| agent.open < limit)
        };
        let load = |agent: &&mut Agent| {
            // A share in millionths: the limits here are small.
            let share = limit.map_or(0, |limit| agent.open * 1_000_000 / limit);
            // What others did not answer goes to whoever holds the fewest.
            let counts = waiting.asked.is_empty();
            let held = i64::from(agent.open);
            let count = if limit.is_some() { 0 } else { [held, agent.automatic][usize::from(counts)] };
            // Who was asked comes after all others, the first of them first.
            let asked = waiting.asked.iter().position(|user| *user == agent.user).map_or(0, |place| place + 1);
            (asked, share, count, agent.last, agent.user)
        };
        let Some(agent) = agents.iter_mut().filter(free).min_by_key(load) else { break };
        agent.assign(after(now(), Duration::from_micros(place)), waiting.asked.is_empty());
        made.push((waiting.conversation, agent.user));
    }
    made
}

proptest! {
    #[test]
    fn the_decision_is_what_the_rules_say(limit in limit(), agents in agents(), waiting in waiting()) {
        let decision = decide(limit, &agents, &waiting, now());
        let made: Vec<_> = decision.assignments.iter().map(|made| (made.conversation, made.user)).collect();
        prop_assert_eq!(made, plainly(limit, &agents, &waiting));
    }

    #[test]
    fn nobody_gets_above_the_limit_and_nobody_idles_while_something_waits(
        limit in limit(), agents in agents(), waiting in waiting()
    ) {
        let decision = decide(limit, &agents, &waiting, now());
        let left = waiting.len() - decision.assignments.len();
        for agent in &agents {
            let got = decision.assignments.iter().filter(|made| made.user == agent.user).count();
            let open = agent.open + i32::try_from(got).unwrap();
            prop_assert!(got == 0 || limit.is_none_or(|limit| open <= limit));
            let free = hindrance(limit, &Agent { open, ..agent.clone() }).is_none();
            prop_assert!(left == 0 || !free, "{agent:?} idles");
        }
        prop_assert_eq!(decision.candidates.len() + decision.passed_over.len(), agents.len());
    }

    #[test]
    fn the_higher_priority_goes_first_then_the_oldest_each_once(limit in limit(), agents in agents(), waiting in waiting()) {
        let mut order = waiting.clone();
        order.sort_by_key(|waiting| (-waiting.priority.level(), waiting.queued_at, waiting.conversation));
        let decision = decide(limit, &agents, &waiting, now());
        let expected: Vec<_> = order.iter().take(decision.assignments.len()).map(|waiting| waiting.conversation).collect();
        let made: Vec<_> = decision.assignments.iter().map(|made| made.conversation).collect();
        prop_assert_eq!(made, expected);
    }

    #[test]
    fn what_others_did_not_answer_changes_nobodys_turn_for_new_ones(agents in agents(), waiting in waiting()) {
        let fresh: Vec<_> = waiting.iter().filter(|waiting| waiting.asked.is_empty()).cloned().collect();
        let counted = |decision: Decision| {
            let counted = decision.assignments.into_iter().filter(|made| made.counts);
            counted.map(|made| (made.conversation, made.user)).collect::<Vec<_>>()
        };
        let mixed = counted(decide(None, &agents, &waiting, now()));
        prop_assert_eq!(mixed, counted(decide(None, &agents, &fresh, now())));
    }

    #[test]
    fn without_a_limit_equals_end_within_one_of_each_other(count in 1..8_u128, waiting in waiting()) {
        let agents: Vec<_> = (1..=count).map(|number| agent(number, 0, 3)).collect();
        let decision = decide(None, &agents, &waiting, now());
        let got = |agent: &Agent| decision.assignments.iter().filter(|made| made.counts && made.user == agent.user).count();
        let counts: Vec<_> = agents.iter().map(got).collect();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn two_batches_decide_as_one_does(limit in limit(), agents in agents(), waiting in waiting(), cut in 0..30_usize) {
        let mut order = waiting.clone();
        order.sort_by_key(|waiting| (-waiting.priority.level(), waiting.queued_at, waiting.conversation));
        let cut = cut.min(order.len());
        let first = decide(limit, &agents, &order[..cut], now());
        let mut between = agents.clone();
        for made in &first.assignments {
            let agent = between.iter_mut().find(|agent| agent.user == made.user).unwrap();
            agent.assign(made.at, made.counts);
        }
        let later = after(now(), Duration::from_micros(cut as u64));
        // What the first batch could not place still waits.
        let second = decide(limit, &between, &order[first.assignments.len()..], later);
        let made: Vec<_> = first.assignments.into_iter().chain(second.assignments).collect();
        prop_assert_eq!(made, decide(limit, &agents, &order, now()).assignments);
    }
}

#[test]
fn a_full_agent_is_passed_over_and_the_ledger_says_why() {
    let absent = |number, availability| Agent { availability, ..agent(number, 0, 0) };
    let agents = [
        agent(1, 2, 0),
        absent(2, Availability::Offline),
        absent(3, Availability::Watching),
        Agent { enabled: false, ..agent(4, 0, 0) },
        agent(5, 1, 0),
    ];
    let decision = decide(Some(2), &agents, &queue(3), now());
    assert_eq!(receivers(&decision), [5]);
    let reasons: Vec<_> = decision.passed_over.iter().map(|(user, reason)| (user.as_u128(), *reason)).collect();
    let expected =
        [(1, PassedOver::Full), (2, PassedOver::Offline), (3, PassedOver::Watching), (4, PassedOver::Deactivated)];
    assert_eq!(reasons, expected);
}

#[test]
fn who_did_not_answer_is_passed_over_while_anybody_else_can_take_it() {
    let user = Uuid::from_u128;
    let asked = |asked: &[u128]| {
        let asked = asked.iter().map(|number| user(*number)).collect();
        vec![Waiting { asked, ..queue(1).remove(0) }]
    };
    let agents = [agent(1, 0, 0), agent(2, 1, 5), agent(3, 2, 9)];
    for (limit, of, expected) in [
        (None, &[][..], 1),
        (None, &[1], 2),
        (None, &[1, 2], 3),
        (None, &[3, 2, 1], 3),
        (Some(2), &[2, 1], 2),
        (Some(3), &[2, 1], 3),
        (Some(9), &[77], 1),
    ] {
        let decision = decide(limit, &agents, &asked(of), now());
        assert_eq!(receivers(&decision), [expected], "{limit:?} {of:?}");
        assert_eq!(decision.assignments[0].counts, of.is_empty());
    }
    assert!(decide(Some(2), &agents[2..], &asked(&[1]), now()).assignments.is_empty());
}

#[test]
fn with_a_limit_open_conversations_count_and_without_one_past_assignments() {
    let agents = [agent(1, 0, 9), agent(2, 3, 0)];
    assert_eq!(receivers(&decide(Some(5), &agents, &queue(1), now())), [1]);
    assert_eq!(receivers(&decide(None, &agents, &queue(1), now())), [2]);
}

#[test]
fn ties_go_to_whose_last_assignment_is_oldest_and_never_is_oldest_of_all() {
    let last = |number, last| Agent { last, ..agent(number, 1, 1) };
    let agents = [last(1, Some(time(50))), last(2, Some(time(10))), last(3, None)];
    assert_eq!(receivers(&decide(Some(2), &agents, &queue(3), now())), [3, 2, 1]);
}
