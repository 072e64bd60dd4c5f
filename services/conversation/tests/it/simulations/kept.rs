//! For how long that is kept which simulations need.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{AvailabilityState, Priority};
use diwan_runtime::{Clock as _, MockClock};
use diwan_testkit::Person;

use super::{all_held, simulate};
use crate::support::Office;

const DAY: Duration = Duration::from_hours(24);

/// Something of everything that is kept: a member's comings and goings, a priority, a decision, and settings in this version.
async fn something(office: &Office, agent: &Person, version: i64) {
    office.set_availability(agent, AvailabilityState::Watching).await.unwrap();
    let id = office.arrive().await;
    office.set_priority(&office.owner, id, Priority::High).await.unwrap();
    office.set_availability(agent, AvailabilityState::Active).await.unwrap();
    all_held(office).await;
    office.close(agent, id).await.unwrap();
    office.set_team(office.team, version, |team| (team.fallback, team.assignment_limit) = (true, 2));
    office.until("select count(*) from team_history where assignment_limit = 2", version - 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_forgotten_with_the_ledger_but_for_the_last_of_each_member_and_team() {
    let clock = MockClock::at("2026-11-01T10:00Z".parse().unwrap());
    let office = Office::open_at(&clock, 2).await;
    let begun = clock.now();
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    something(&office, &agent, 2).await;
    clock.advance(20 * DAY);
    let middle = clock.now();
    something(&office, &agent, 3).await;
    let last = "select max(id) from agent_history where at < '2026-11-10'";
    let (last, later) = (office.count(last).await, "select count(*) from agent_history where at > '2026-11-10'");
    let kept = office.count(later).await;
    clock.advance(15 * DAY);

    for (old, left) in [
        ("select count(*) from decisions where decided_at < '2026-11-10'", 0),
        ("select count(*) from priority_history where at < '2026-11-10'", 0),
        ("select count(*) from agent_history where at < '2026-11-10'", 1),
        ("select count(*) from team_history where at < '2026-11-10'", 1),
    ] {
        office.until(old, left).await;
    }
    assert_eq!(office.count("select min(id) from agent_history").await, last, "the last one from before is kept");
    assert_eq!(office.count(later).await, kept, "nothing is forgotten too early");
    assert_eq!(office.count("select count(*) from priority_history").await, 1);
    let before = middle.checked_sub(DAY).unwrap();
    let said = simulate(&office, &office.owner, (before, clock.now()), vec![]).await.unwrap();
    let result = said.of(office.team);
    assert_eq!((result.decisions, result.reproduced, result.different), (1, 1, 0));
    let gone = simulate(&office, &office.owner, (begun, middle), vec![]).await.unwrap_err();
    assert_eq!(reason_of(&gone).as_deref(), Some("PERIOD_NOT_KEPT"));
}
