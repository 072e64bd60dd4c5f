//! What a simulation may take, and by which time zone it counts.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_feed::time::to_proto;
use diwan_proto::{
    conversation::v1::{
        SimulateRoutingRequest, SimulateRoutingResponse, SimulatedHours, SimulatedMember, SimulatedSettings,
        SimulationResult, simulate_routing_response::Word, simulation_service_client::SimulationServiceClient,
    },
    identity::v1::{Account, AccountChanged},
    team::v1::{Shift, Weekday, WorkingDay, WorkingHours},
};
use diwan_runtime::{Clock as _, MockClock, SystemClock, ids};
use diwan_testkit::{Person, bad_fields, eventually};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use tonic::{Status, Streaming};

use crate::support::{LIMIT, Office};

async fn begin(
    office: &Office,
    person: &Person,
    (from, to): (Timestamp, Timestamp),
    teams: Vec<SimulatedSettings>,
) -> Result<Streaming<SimulateRoutingResponse>, Status> {
    let message = SimulateRoutingRequest { from: Some(to_proto(from)), to: Some(to_proto(to)), teams };
    let mut client = SimulationServiceClient::new(office.world.to("conversation"));
    Ok(client.simulate_routing(office.world.request(person, message)).await?.into_inner())
}

async fn result(stream: Streaming<SimulateRoutingResponse>) -> Option<SimulationResult> {
    let said: Vec<_> = stream.try_collect().await.unwrap();
    said.into_iter().rev().find_map(|said| match said.word.unwrap() {
        Word::Result(result) => Some(result),
        _ => None,
    })
}

fn settings(office: &Office) -> SimulatedSettings {
    SimulatedSettings { team_id: office.team.to_string(), ..SimulatedSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_one_at_a_time_before_anything_is_looked_up_and_another_account_has_its_own() {
    let office = Office::open(0).await;
    let now = SystemClock.now();
    let period = (now - Duration::from_mins(1), now);
    let mut blocking = office.pool().begin().await.unwrap();
    sqlx::query("lock table decisions in access exclusive mode").execute(&mut *blocking).await.unwrap();
    let first = begin(&office, &office.owner, period, vec![]).await.unwrap();
    let unknown = SimulatedSettings { removed_user_ids: vec![ids::new_id().to_string()], ..settings(&office) };
    let refused = begin(&office, &office.owner, period, vec![unknown.clone()]).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("TOO_MANY_SIMULATIONS"));
    assert!(result(begin(&office, &Person::owner(), period, vec![]).await.unwrap()).await.is_none(), "it has no team");
    blocking.rollback().await.unwrap();
    assert!(result(first).await.is_some());
    eventually("the place is free", LIMIT, async || {
        let refused = begin(&office, &office.owner, period, vec![unknown.clone()]).await.unwrap_err();
        reason_of(&refused).as_deref() == Some("USER_NOT_FOUND")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_named_twice() {
    let office = Office::open(0).await;
    let now = SystemClock.now();
    let user = office.owner.user.to_string();
    let member = SimulatedMember { user_id: user.clone(), always_active: true };
    let twice = SimulatedSettings {
        removed_user_ids: vec![user.clone(), user],
        added_members: vec![member.clone(), member],
        ..settings(&office)
    };
    let refused = begin(&office, &office.owner, (now - Duration::from_mins(1), now), vec![twice]).await.unwrap_err();
    assert_eq!(bad_fields(&refused), ["teams[0].removed_user_ids[1]", "teams[0].added_members[1].user_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hours_count_by_the_accounts_zone_where_no_team_has_any() {
    let clock = MockClock::at("2026-11-23T07:00Z".parse().unwrap());
    let office = Office::open_at(&clock, 0).await;
    let account = office.owner.account;
    let told = Account { time_zone: "Africa/Cairo".into(), language: "ar".into(), ..Account::default() };
    office.users.write(account, account, 1, &AccountChanged { account: Some(told) });
    office.until("select count(*) from account_languages", 1).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    let from = clock.now();
    clock.advance(Duration::from_mins(30));
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    clock.advance(Duration::from_mins(30));
    // From nine to five on a Monday: in Cairo it was half past nine.
    let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
    let days = vec![WorkingDay { weekday: Weekday::Monday.into(), shifts }];
    let hours = Some(SimulatedHours { hours: Some(WorkingHours { days, holidays: vec![] }) });
    let asked = SimulatedSettings { hours, ..settings(&office) };
    let result = result(begin(&office, &office.owner, (from, clock.now()), vec![asked]).await.unwrap()).await.unwrap();
    assert_eq!((result.decisions, result.different), (1, 0), "{result:?}");
}
