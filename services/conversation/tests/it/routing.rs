//! Who gets what, and what moves when people come, go and change.

use std::{collections::BTreeMap, time::Duration};

use diwan_fault::reason_of;
use diwan_proto::{
    conversation::v1::{AvailabilityState, ConversationState, SetAvailabilityRequest, Transition, TransitionCause},
    identity::v1::UserState,
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::{Person, eventually};
use prost::Message;
use uuid::Uuid;

use crate::support::{LIMIT, Office};

async fn held(office: &Office) -> BTreeMap<Uuid, i64> {
    let rows: Vec<(Uuid, i64)> =
        sqlx::query_as("select holder_id, count(*) from conversations where state = 'OPEN' group by 1")
            .fetch_all(office.pool())
            .await
            .unwrap();
    rows.into_iter().collect()
}

async fn switch(office: &Office, person: &Person, state: AvailabilityState) {
    let request = SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: state.into() };
    office.inbox().set_availability(office.world.request(person, request)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_the_surplus_waits_and_a_higher_limit_lets_it_go() {
    let office = Office::open(2).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    for _ in 0..5 {
        office.arrive().await;
    }
    office.until("select count(*) from conversations where state = 'OPEN'", 2).await;
    assert_eq!(office.count("select count(*) from conversations where state = 'QUEUED'").await, 3);
    office.set_team(office.team, 2, |team| team.assignment_limit = 4);
    office.until("select count(*) from conversations where state = 'OPEN'", 4).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_assignments_are_even_and_a_newcomer_starts_at_the_minimum() {
    let office = Office::open(0).await;
    let (first, second) = (office.agent().await, office.agent().await);
    let _inboxes = (office.watch(&first).await, office.watch(&second).await);
    for _ in 0..20 {
        office.arrive().await;
    }
    office.until("select count(*) from conversations where state = 'OPEN'", 20).await;
    assert_eq!(held(&office).await, BTreeMap::from([(first.user, 10), (second.user, 10)]));
    let third = office.agent().await;
    let _third = office.watch(&third).await;
    for _ in 0..9 {
        office.arrive().await;
    }
    office.until("select count(*) from conversations where state = 'OPEN'", 29).await;
    assert_eq!(held(&office).await, BTreeMap::from([(first.user, 13), (second.user, 13), (third.user, 3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_active_gets_something_and_who_switches_gets_it_at_once() {
    let office = Office::open(0).await;
    let (agent, absent) = (office.agent().await, office.agent().await);
    let _owner = office.watch(&office.owner).await;
    let _inbox = office.watch(&agent).await;
    switch(&office, &agent, AvailabilityState::Watching).await;
    let id = office.arrive().await;
    // The owner watches, this agent takes by hand only, the other one is not there.
    assert_eq!(office.availability(&office.owner).await, AvailabilityState::Watching);
    assert_eq!(office.availability(&absent).await, AvailabilityState::Offline);
    assert_eq!(office.get(&agent, id).await.unwrap().state(), ConversationState::Queued);
    switch(&office, &agent, AvailabilityState::Active).await;
    office.held_by(&agent, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_take_may_exceed_the_limit_and_is_recorded_so() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    let within = office.arrive().await;
    office.held_by(&agent, within).await;
    let above = office.arrive().await;
    let taken = office.take(&agent, above).await.unwrap();
    assert!(taken.over_limit);
    let transitions = office.transitions(above).await;
    let last = transitions.last().unwrap();
    assert_eq!((last.cause(), last.over_limit), (TransitionCause::Taken, true));
    assert_eq!(last.actor_id, agent.user.to_string());
    // Above the limit he gets nothing until he is below it again.
    let third = office.arrive().await;
    office.close(&agent, above).await.unwrap();
    assert_eq!(office.get(&agent, third).await.unwrap().state(), ConversationState::Queued);
    office.close(&agent, within).await.unwrap();
    office.held_by(&agent, third).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_who_take_one_conversation_at_once_one_has_it() {
    let office = std::sync::Arc::new(Office::open(1).await);
    let agents = futures::future::join_all((0..8).map(|_| office.agent())).await;
    let id = office.arrive().await;
    let takes: Vec<_> = (0..32)
        .map(|number| {
            let (office, agent) = (office.clone(), agents[number % agents.len()].clone());
            tokio::spawn(async move { (agent.user, office.take(&agent, id).await) })
        })
        .collect();
    let mut holders = Vec::new();
    for take in takes {
        match take.await.unwrap() {
            (user, Ok(_)) => holders.push(user),
            (_, Err(status)) => assert_eq!(reason_of(&status).as_deref(), Some("ALREADY_HELD"), "{status:?}"),
        }
    }
    // One person, who may have asked several times.
    holders.dedup();
    assert_eq!(holders.len(), 1, "{holders:?}");
    assert_eq!(held(&office).await, BTreeMap::from([(holders[0], 1)]));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_deactivated_loses_everything_to_the_others_up_to_the_limit_and_to_the_queue() {
    let office = Office::open(2).await;
    let (leaver, stayer) = (office.agent().await, office.agent().await);
    let mut leaver_s = office.watch(&leaver).await;
    for _ in 0..2 {
        office.arrive().await;
    }
    office.until("select count(*) from conversations where state = 'OPEN'", 2).await;
    let by_hand = office.arrive().await;
    office.take(&leaver, by_hand).await.unwrap();
    let _stayer_s = office.watch(&stayer).await;
    office.set_user(&leaver, 2, UserState::Deactivated);
    eventually("the stayer holds two", LIMIT, async || held(&office).await == BTreeMap::from([(stayer.user, 2)])).await;
    assert_eq!(office.count("select count(*) from conversations where state = 'QUEUED'").await, 1);
    assert_eq!(office.availability(&leaver).await, AvailabilityState::Offline);
    let ended = loop {
        if let Err(status) = leaver_s.try_next().await {
            break status;
        }
    };
    assert_eq!(ended.code(), tonic::Code::Unauthenticated);
    let causes: Vec<_> = office.transitions(by_hand).await.iter().map(Transition::cause).collect();
    assert!(causes.contains(&TransitionCause::HolderDeactivated), "{causes:?}");
    // His token may still be good for a moment: he gets nothing by it.
    let status = office.take(&leaver, by_hand).await.unwrap_err();
    assert!(matches!(status.code(), tonic::Code::Unauthenticated | tonic::Code::NotFound), "{status:?}");
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_team_leaves_its_conversations_and_keeps_those_of_other_teams() {
    let office = Office::open(0).await;
    let other = ids::new_id();
    office.set_team(other, 1, |_| {});
    office.until("select count(*) from teams", 2).await;
    let agent = office.agent().await;
    office.set_member(&agent, other, 1, true);
    office.until("select count(*) from slots where member", 2).await;
    let _inbox = office.watch(&agent).await;
    let here = office.arrive().await;
    let there = office
        .deliver(diwan_proto::conversation::v1::IngestMessageRequest { team_id: other.to_string(), ..office.mail() });
    let there = there.await;
    office.held_by(&agent, here).await;
    office.held_by(&agent, there).await;
    office.set_member(&agent, office.team, 2, false);
    office.until("select count(*) from conversations where state = 'QUEUED'", 1).await;
    assert_eq!(office.transitions(here).await.last().unwrap().cause(), TransitionCause::HolderRemoved);
    office.held_by(&agent, there).await;
    // An older event of his membership that comes late changes nothing.
    office.set_member(&agent, office.team, 1, true);
    office.set_team(other, 2, |team| team.assignment_limit = 7);
    office.until("select count(*) from teams where assignment_limit = 7", 1).await;
    assert_eq!(office.count("select count(*) from slots where member").await, 1);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_for_a_team_that_is_not_known_yet_waits_for_that_team() {
    let office = Office::open(0).await;
    let late = ids::new_id();
    let mail = diwan_proto::conversation::v1::IngestMessageRequest { team_id: late.to_string(), ..office.mail() };
    let id = office.deliver(mail).await;
    assert_eq!(office.get(&office.owner, id).await.unwrap().team_id, late.to_string());
    office.set_team(late, 1, |_| {});
    let agent = office.agent_of(late).await;
    let _inbox = office.watch(&agent).await;
    office.held_by(&agent, id).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_in_the_ledger_with_who_was_passed_over_and_why() {
    let office = Office::open(1).await;
    let (agent, absent) = (office.agent().await, office.agent().await);
    let _inbox = office.watch(&agent).await;
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let ledger: Vec<u8> = sqlx::query_scalar(
        "select ledger from decisions d join transitions t on t.decision_id = d.id where t.conversation_id = $1",
    )
    .bind(id)
    .fetch_one(office.pool())
    .await
    .unwrap();
    let ledger = Ledger::decode(ledger.as_slice()).unwrap();
    let mut members = [(agent.user, ACTIVE), (absent.user, OFFLINE)];
    members.sort();
    let users: Vec<u8> = members.iter().flat_map(|(user, _)| *user.as_bytes()).collect();
    assert_eq!((ledger.limit, ledger.users), (1, users));
    assert_eq!(ledger.facts, members.map(|(_, facts)| facts));
    assert_eq!(ledger.conversations, id.as_bytes());
    let chosen = members.iter().position(|(user, _)| *user == agent.user).unwrap();
    assert_eq!(ledger.chosen, [u32::try_from(chosen).unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_forgotten_after_thirty_days_and_not_before() {
    let clock = MockClock::at("2026-11-23T05:00Z".parse().unwrap());
    let office = Office::open_at(&clock, 0).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    let first = office.arrive().await;
    office.held_by(&agent, first).await;
    clock.advance(Duration::from_hours(29 * 24));
    let second = office.arrive().await;
    office.held_by(&agent, second).await;
    assert_eq!(office.count("select count(*) from decisions").await, 2);
    clock.advance(Duration::from_hours(2 * 24));
    office.until("select count(*) from decisions", 1).await;
    let left =
        "select count(*) from decisions d join transitions t on t.decision_id = d.id where t.conversation_id = $1";
    let left: i64 = sqlx::query_scalar(left).bind(second).fetch_one(office.pool()).await.unwrap();
    assert_eq!(left, 1);
}

/// What is looked at here of an entry of the ledger, whose form must not change: what is kept has to stay readable.
#[derive(Clone, PartialEq, Message)]
struct Ledger {
    #[prost(int32, tag = "1")]
    limit: i32,
    #[prost(bytes = "vec", tag = "3")]
    users: Vec<u8>,
    #[prost(uint32, repeated, tag = "4")]
    facts: Vec<u32>,
    #[prost(bytes = "vec", tag = "8")]
    conversations: Vec<u8>,
    #[prost(uint32, repeated, tag = "12")]
    chosen: Vec<u32>,
}

/// ACTIVE and with access.
const ACTIVE: u32 = 2 | 4;
/// OFFLINE and with access.
const OFFLINE: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_wake_up_missed_the_sweeper_finds() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    let first = office.arrive().await;
    office.held_by(&agent, first).await;
    let second = office.arrive().await;
    // As a replica does that dies between the commit and the wake-up.
    sqlx::query("update conversations set state = 'CLOSED', holder_id = null, closed_at = now(), version = version + 1 where id = $1")
        .bind(first)
        .execute(office.pool())
        .await
        .unwrap();
    sqlx::query("update slots set open_count = 0").execute(office.pool()).await.unwrap();
    office.held_by(&agent, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_two_teams_add_up_for_who_belongs_to_both() {
    let office = Office::open(3).await;
    let (second, agent) = (office.second_team(3).await, office.agent().await);
    office.set_member(&agent, second, 1, true);
    office.until("select count(*) from slots where member", 2).await;
    let _inbox = office.watch(&agent).await;
    for _ in 0..5 {
        office.arrive().await;
        office.deliver(office.mail_to(second)).await;
    }
    office.until("select count(*) from conversations where state = 'OPEN'", 6).await;
    assert_eq!(office.count("select count(*) from slots where open_count = 3").await, 2, "three in each");
    assert_eq!(office.count("select count(*) from conversations where state = 'QUEUED'").await, 4);
    assert_eq!(office.count("select count(*) from transitions where over_limit").await, 0);
    office.audit().await;
}
