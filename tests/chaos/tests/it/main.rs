//! The short form of the chaos, in every run of the tests.

use diwan_chaos::{Plan, run};

/// Another choice with DIWAN_CHAOS_SEED; the same one each time otherwise, so that a failure can be repeated.
fn seed() -> u64 {
    std::env::var("DIWAN_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_happens_twice_while_replicas_are_killed_and_postgresql_crashes() {
    let plan = Plan::short(seed());
    let summary = run(&plan, |_| {}).await.unwrap();
    println!("{summary:#?}");
    assert_eq!(summary.violations, Vec::<String>::new(), "seed {}", plan.seed);
    assert!(summary.kills >= plan.kills && summary.crashes == 1, "{summary:?}");
    let done: u64 = summary.operations.values().flat_map(std::collections::BTreeMap::values).sum();
    assert!(done >= 5_000, "{done}");
}
