//! What is kept leads to the same decision again, and what was damaged does not.

use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let availability = prop_oneof![
        3 => Just(Availability::Active),
        1 => Just(Availability::Watching),
        1 => Just(Availability::Offline)
    ];
    let one = (any::<u128>(), prop::bool::weighted(0.9), availability, 0..6_i32, 0..8_i64, prop::option::of(-3..9_i64));
    prop::collection::vec(one, 0..8).prop_map(|drawn| {
        let agent = |(user, enabled, availability, open, automatic, last): (_, _, _, _, _, Option<i64>)| Agent {
            user: Uuid::from_u128(user),
            enabled,
            availability,
            open,
            automatic,
            last: last.and_then(|last| before(now(), last)),
        };
        drawn.into_iter().map(agent).collect()
    })
}

fn waiting() -> impl Strategy<Value = Vec<Waiting>> {
    let asked = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(any::<prop::sample::Index>(), 1..6)];
    let one = (any::<u128>(), 1..9_i64, prop::sample::select(Priority::ALL.to_vec()), 0..50_i64, asked);
    prop::collection::vec(one, 0..20).prop_map(|drawn| {
        let waiting =
            |(conversation, version, priority, queued, asked): (_, _, _, _, Vec<prop::sample::Index>)| Waiting {
                conversation: Uuid::from_u128(conversation),
                version,
                priority,
                queued_at: before(now(), queued).unwrap(),
                // Places among the members, which `asked_among` makes ids of.
                asked: asked.into_iter().map(|index| Uuid::from_u128(index.index(9) as u128)).collect(),
            };
        drawn.into_iter().map(waiting).collect()
    })
}

/// With members who were asked, and one who has left.
fn asked_among(agents: &[Agent], waiting: Vec<Waiting>) -> Vec<Waiting> {
    let user = |place: &Uuid| usize::try_from(place.as_u128()).ok().and_then(|place| agents.get(place));
    let asked =
        |asked: Vec<Uuid>| asked.iter().map(|place| user(place).map_or(Uuid::max(), |agent| agent.user)).collect();
    waiting.into_iter().map(|one| Waiting { asked: asked(one.asked), ..one }).collect()
}

fn kept(limit: Option<i32>, agents: &[Agent], waiting: &[Waiting]) -> Entry {
    let decision = decide(limit, agents, waiting, now());
    let bytes = Entry::of_batch(&decision, agents, waiting, now()).encode_to_vec();
    Entry::decode(bytes.as_slice()).unwrap()
}

proptest! {
    #[test]
    fn a_kept_decision_is_reproduced_and_says_who_got_what(
        limit in prop::option::of(1..5_i32), agents in agents(), waiting in waiting()
    ) {
        let waiting = asked_among(&agents, waiting);
        let decision = decide(limit, &agents, &waiting, now());
        let entry = kept(limit, &agents, &waiting);
        prop_assert!(entry.is_reproduced(Kind::Batch, now()));
        let made: Vec<_> = decision.assignments.iter().map(|made| (made.conversation, made.user)).collect();
        prop_assert_eq!(entry.given().unwrap(), made);
    }

    #[test]
    fn a_damaged_entry_is_noticed(agents in agents(), waiting in waiting(), place in any::<prop::sample::Index>()) {
        let waiting = asked_among(&agents, waiting);
        let mut entry = kept(None, &agents, &waiting);
        prop_assume!(!entry.chosen.is_empty() && entry.facts.len() > 1);
        let place = place.index(entry.chosen.len());
        entry.chosen[place] = (entry.chosen[place] + 1) % u32::try_from(entry.facts.len()).unwrap();
        prop_assert!(!entry.is_reproduced(Kind::Batch, now()));
    }

    #[test]
    fn an_offer_to_one_agent_is_reproduced(limit in prop::option::of(1..5_i32), open in any::<bool>(), agents in agents()) {
        let decided = give_back((Uuid::max(), Uuid::from_u128(7)), (limit, open), agents.into_iter().next());
        let decided = Return { agent: decided.candidate.as_ref().map_or(decided.agent, |agent| agent.user), ..decided };
        let entry = Entry::of_return(&decided, now());
        prop_assert!(entry.is_reproduced(Kind::Return, now()));
        prop_assert_eq!(entry.given().unwrap().is_empty(), decided.passed_over.is_some());
    }
}

#[test]
fn the_largest_batch_takes_less_than_forty_kilobytes() {
    let agent = |number: u128| Agent {
        user: Uuid::from_u128(number),
        enabled: true,
        availability: Availability::Active,
        open: 3,
        automatic: 10_000,
        last: before(now(), 3_600_000_000),
    };
    let waiting = |number: u128| Waiting {
        conversation: Uuid::from_u128(number),
        version: 3,
        priority: Priority::Normal,
        queued_at: before(now(), 3_600_000_000).unwrap(),
        asked: Vec::new(),
    };
    let (agents, queue): (Vec<_>, Vec<_>) = ((0..1000).map(agent).collect(), (0..200).map(waiting).collect());
    let size = kept(None, &agents, &queue).encoded_len();
    assert!(size < 40_000, "{size} bytes");
}
