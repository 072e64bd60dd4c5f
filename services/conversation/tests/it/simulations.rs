//! A past period is replayed: with unchanged settings it comes out as it was, with others it says what would have been, and nothing is
//! written.

mod kept;
mod week;

use std::{collections::BTreeMap, time::Duration};

use diwan_proto::{
    conversation::v1::{
        AvailabilityState, Priority, SetAvailabilityRequest, SetPriorityRequest, SimulateRoutingRequest,
        SimulateRoutingResponse, SimulatedDifference, SimulatedMember, SimulatedSettings, SimulationResult,
        handling_service_client::HandlingServiceClient, simulate_routing_response::Word,
        simulation_service_client::SimulationServiceClient,
    },
    identity::v1::UserState,
};
use diwan_runtime::{Clock, MockClock, SystemClock, clock::after, ids};
use diwan_testkit::{Person, eventually};
use jiff::Timestamp;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{Inbox, LIMIT, Office};

fn proto(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// What a simulation said: differences, and the result of each team.
#[derive(Debug, Default)]
struct Said {
    differences: Vec<SimulatedDifference>,
    results: BTreeMap<String, SimulationResult>,
}

impl Said {
    fn of(&self, team: Uuid) -> &SimulationResult {
        &self.results[&team.to_string()]
    }
}

async fn simulate(
    office: &Office,
    person: &Person,
    (from, to): (Timestamp, Timestamp),
    teams: Vec<SimulatedSettings>,
) -> Result<Said, Status> {
    let request =
        office.world.request(person, SimulateRoutingRequest { from: Some(proto(from)), to: Some(proto(to)), teams });
    let mut client = SimulationServiceClient::new(office.world.to("conversation"));
    let mut stream = client.simulate_routing(request).await?.into_inner();
    let mut said = Said::default();
    while let Some(SimulateRoutingResponse { word }) = stream.message().await? {
        match word.unwrap() {
            Word::Progress(_) => {}
            Word::Differences(found) => said.differences.extend(found.differences),
            Word::Result(result) => drop(said.results.insert(result.team_id.clone(), result)),
        }
    }
    Ok(said)
}

fn settings(team: Uuid) -> SimulatedSettings {
    SimulatedSettings { team_id: team.to_string(), ..Default::default() }
}

/// Every row of every table, as text.
async fn everything(office: &Office) -> Vec<(String, String)> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public' order by 1")
            .fetch_all(office.pool())
            .await
            .unwrap();
    let mut all = Vec::new();
    // Sessions live on while one looks.
    for table in tables.into_iter().filter(|table| table != "live_sessions" && table != "feed_cursors") {
        let query = format!("select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(office.pool()).await.unwrap();
        all.push((table, rows));
    }
    all
}

async fn all_held(office: &Office) {
    office.until("select count(*) from conversations where state = 'QUEUED'", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_limit_would_have_given_out_at_once_what_waited() {
    let clock = MockClock::at("2026-11-23T10:00Z".parse().unwrap());
    let office = Office::open_at(&clock, 1).await;
    let agents = [office.agent().await, office.agent().await];
    let _inboxes = [office.watch(&agents[0]).await, office.watch(&agents[1]).await];
    let begun = clock.now();
    let mut open = Vec::new();
    for _ in 0..2 {
        clock.advance(Duration::from_mins(1));
        open.push(office.arrive().await);
        all_held(&office).await;
    }
    clock.advance(Duration::from_mins(1));
    let waits = office.arrive().await;
    clock.advance(Duration::from_mins(10));
    let holder = office.get(&office.owner, open[0]).await.unwrap().holder_id;
    let holder = agents.iter().find(|agent| agent.user.to_string() == holder).unwrap();
    office.close(holder, open[0]).await.unwrap();
    office.held_by(holder, waits).await;
    clock.advance(Duration::from_mins(1));
    let period = (begun, clock.now());

    let before = everything(&office).await;
    let same = simulate(&office, &office.owner, period, vec![]).await.unwrap();
    let result = same.of(office.team);
    assert_eq!((result.decisions, result.reproduced, result.different), (3, 3, 0));
    assert_eq!(result.recorded, result.simulated);
    assert_eq!(result.recorded.as_ref().unwrap().wait_max.unwrap().seconds, 600);

    let higher = SimulatedSettings { assignment_limit: Some(2), ..settings(office.team) };
    let said = simulate(&office, &office.owner, period, vec![higher]).await.unwrap();
    let (result, difference) = (said.of(office.team), &said.differences[0]);
    assert_eq!((result.reproduced, said.differences.len()), (2, 1));
    assert_eq!(difference.conversation_id, waits.to_string());
    assert!(difference.simulated_at.unwrap().seconds < difference.recorded_at.unwrap().seconds);
    assert_eq!(result.simulated.as_ref().unwrap().wait_max.unwrap().seconds, 0);

    let removed = SimulatedSettings { removed_user_ids: vec![holder.user.to_string()], ..settings(office.team) };
    let said = simulate(&office, &office.owner, period, vec![removed]).await.unwrap();
    let result = said.of(office.team);
    assert!(result.agents.iter().any(|agent| agent.user_id == holder.user.to_string() && agent.simulated == 0));
    assert_eq!(result.simulated.as_ref().unwrap().waiting, 1);

    let admin = SimulatedMember { user_id: office.owner.user.to_string(), always_active: true };
    let added = SimulatedSettings { added_members: vec![admin], ..settings(office.team) };
    let said = simulate(&office, &office.owner, period, vec![added]).await.unwrap();
    assert_eq!(said.of(office.team).simulated.as_ref().unwrap().wait_max.unwrap().seconds, 0);
    assert_eq!(everything(&office).await, before, "a simulation has written something");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_or_asks_for_what_is_not_there_is_refused() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let now = SystemClock.now();
    let period = (now.checked_sub(Duration::from_mins(1)).unwrap(), now);
    let refused = async |person: &Person, period, teams| simulate(&office, person, period, teams).await.unwrap_err();
    assert_eq!(refused(&agent, period, vec![]).await.code(), Code::PermissionDenied);
    let unknown = refused(&office.owner, period, vec![settings(ids::new_id())]).await;
    assert_eq!((unknown.code(), diwan_fault::reason_of(&unknown).as_deref()), (Code::NotFound, Some("TEAM_NOT_FOUND")));
    let stranger = SimulatedSettings { removed_user_ids: vec![ids::new_id().to_string()], ..settings(office.team) };
    let unknown = refused(&office.owner, period, vec![stranger]).await;
    assert_eq!(diwan_fault::reason_of(&unknown).as_deref(), Some("USER_NOT_FOUND"));
    let long_ago = period.0.checked_sub(Duration::from_hours(24 * 31)).unwrap();
    let gone = refused(&office.owner, (long_ago, after(long_ago, Duration::from_hours(1))), vec![]).await;
    assert_eq!(diwan_fault::reason_of(&gone).as_deref(), Some("PERIOD_NOT_KEPT"));
    let ahead = refused(&office.owner, (now, after(now, Duration::from_hours(1))), vec![]).await;
    assert_eq!(ahead.code(), Code::InvalidArgument);
}

/// A number that follows from another one, as good as random.
fn drawn(number: u64) -> u64 {
    (number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)) >> 33
}

/// A conversation in this state, as good as any, and who has it.
async fn any(office: &Office, state: &str, round: u64) -> Option<(Uuid, Option<Uuid>)> {
    sqlx::query_as("select id, holder_id from conversations where state = $1 order by md5(id::text || $2) limit 1")
        .bind(state)
        .bind(round.to_string())
        .fetch_optional(office.pool())
        .await
        .unwrap()
}

/// People who work at the same time as customers write, on the clock of the machine.
async fn work(office: &Office, agents: &[Person], round: u64) {
    let agent = &agents[usize::try_from(drawn(round) % agents.len() as u64).unwrap()];
    match drawn(round + 7) % 12 {
        0..=4 => drop(office.arrive().await),
        5..=9 => {
            let Some((id, holder)) = any(office, "OPEN", round).await else { return };
            let holder = agents.iter().find(|agent| Some(agent.user) == holder);
            // Somebody else may have closed it or got it meanwhile.
            drop(office.close(holder.unwrap_or(&office.owner), id).await);
        }
        10 => {
            let Some((id, _)) = any(office, "QUEUED", round).await else { return };
            let priority = if round.is_multiple_of(2) { Priority::High } else { Priority::Low };
            let request = SetPriorityRequest {
                request_id: ids::new_id().to_string(),
                conversation_id: id.to_string(),
                priority: priority.into(),
            };
            let mut client = HandlingServiceClient::new(office.world.to("conversation"));
            drop(client.set_priority(office.world.request(&office.owner, request)).await);
            drop(office.take(agent, id).await);
        }
        _ => {
            let state = if round.is_multiple_of(4) { AvailabilityState::Watching } else { AvailabilityState::Active };
            let request = SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: state.into() };
            drop(office.inbox().set_availability(office.world.request(agent, request)).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_some_thousand_operations_at_the_same_time_is_reproduced_decision_by_decision() {
    const KEPT: &str = "select count(*) from decisions";
    let office = Office::open(3).await;
    let mut agents = Vec::new();
    let mut inboxes: Vec<Inbox> = Vec::new();
    for _ in 0..5 {
        agents.push(office.agent().await);
        inboxes.push(office.watch(&agents[agents.len() - 1]).await);
    }
    let begun = SystemClock.now();
    let mut middle = begun;
    for chapter in 0..5_u64 {
        // How many operations make a decision depends on how fast the machine is: of each chapter there are some.
        let enough = office.count(KEPT).await + 20;
        for turn in 0.. {
            let works = (0..8).map(async |lane| {
                for round in 0..50 {
                    work(&office, &agents, chapter * 1_000_000 + turn * 10_000 + lane * 1000 + round).await;
                }
            });
            futures::future::join_all(works).await;
            if office.count(KEPT).await > enough {
                break;
            }
            assert!(turn < 20, "fewer than 20 decisions of 8000 operations");
        }
        // The settings change between the chapters: another limit, none, a member who leaves, one who is cut off.
        match chapter {
            0 => office.set_team(office.team, 2, |team| team.assignment_limit = 0),
            1 => office.set_member(&agents[0], office.team, 2, false),
            2 => {
                middle = SystemClock.now();
                office.set_team(office.team, 3, |team| team.assignment_limit = 4);
            }
            _ => office.set_user(&agents[1], 2, UserState::Deactivated),
        }
    }
    let period = (begun, SystemClock.now());
    eventually("the routing rests", LIMIT, async || {
        let before = office.count("select count(*) from transitions").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        before == office.count("select count(*) from transitions").await
    })
    .await;
    let before = everything(&office).await;
    for from in [begun, middle] {
        let said = simulate(&office, &office.owner, (from, period.1), vec![]).await.unwrap();
        let result = said.of(office.team);
        let failed = || format!("from {from} (middle {middle}): {:?}", said.differences);
        assert!(said.differences.is_empty() && result.reproduced == result.decisions, "{}\n{result:?}", failed());
    }
    let higher = SimulatedSettings { assignment_limit: Some(8), ..settings(office.team) };
    let said = simulate(&office, &office.owner, period, vec![higher]).await.unwrap();
    assert!(!said.differences.is_empty());
    assert_eq!(everything(&office).await, before, "a simulation has written something");
}
