//! Coming and going.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    AvailabilityState, GetMyAvailabilityRequest, HeartbeatRequest, HeartbeatResponse, SetAvailabilityRequest,
    WatchInboxRequest, WatchInboxResponse, presence_service_client::PresenceServiceClient,
    watch_inbox_response::Event as Shown,
};
use diwan_proto::identity::v1::{Revocation, RevocationSubject, SessionEnded};
use diwan_runtime::ids;
use diwan_testkit::{Person, eventually};
use jiff::Timestamp;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::support::{GRACE, LIMIT, Office};

async fn switch(office: &Office, person: &Person, state: AvailabilityState) -> Result<(), Status> {
    let request = SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: state.into() };
    office.inbox().set_availability(office.world.request(person, request)).await.map(drop)
}

async fn becomes(office: &Office, person: &Person, state: AvailabilityState) {
    eventually("he has this availability", LIMIT, async || office.availability(person).await == state).await;
}

/// What he is told of himself: his state, and whether it began at some time.
async fn own(office: &Office, person: &Person) -> (AvailabilityState, bool) {
    let request = office.world.request(person, GetMyAvailabilityRequest {});
    let told = office.inbox().get_my_availability(request).await.unwrap().into_inner().availability.unwrap();
    assert_eq!(told.user_id, person.user.to_string());
    (told.state(), told.since.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_told_his_own_availability_and_whoever_was_never_there_is_offline() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    becomes(&office, &agent, AvailabilityState::Active).await;
    assert_eq!(own(&office, &agent).await, (AvailabilityState::Active, true));
    // Another account's user with the same id is another person.
    let stranger = Person { user: agent.user, ..Person::owner() };
    assert_eq!(own(&office, &stranger).await, (AvailabilityState::Offline, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_makes_active_and_its_end_offline_after_the_grace_period() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let inbox = office.watch(&agent).await;
    becomes(&office, &agent, AvailabilityState::Active).await;
    let second = office.watch(&agent).await;
    drop(inbox);
    tokio::time::sleep(2 * GRACE).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active, "one stream is left");
    drop(second);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    assert_eq!(office.count("select count(*) from live_sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_often_while_he_is_there_leaves_nothing_behind() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let _stays = office.watch(&agent).await;
    drop(office.watch(&agent).await);
    office.until("select count(*) from live_sessions where lease_until <= now()", 1).await;
    office
        .until("select count(*) from live_sessions where lease_until <= now() - interval '300 milliseconds'", 1)
        .await;
    let _back = office.watch(&agent).await;
    assert_eq!(office.count("select count(*) from live_sessions").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_returns_within_the_grace_period_keeps_what_he_chose_and_later_starts_anew() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let mut inbox = office.watch(&agent).await;
    switch(&office, &agent, AvailabilityState::Watching).await.unwrap();
    let told = loop {
        if let Shown::Availability(now) = inbox.next().await {
            break now;
        }
    };
    assert_eq!(told.state(), AvailabilityState::Watching);
    drop(inbox);
    let inbox = office.watch(&agent).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Watching);
    drop(inbox);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    let _inbox = office.watch(&agent).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active);
}

/// A message in a session of its own.
fn in_session<M>(office: &Office, person: &Person, session: Uuid, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let token = format!("Bearer {}", office.world.token_of(person, session));
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    request
}

async fn watch_in(office: &Office, person: &Person, session: Uuid) -> Streaming<WatchInboxResponse> {
    let request = in_session(office, person, session, WatchInboxRequest::default());
    office.inbox().watch_inbox(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_outlives_every_stream_but_not_the_sign_in_it_was_made_in() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let (session, next) = (ids::new_id(), ids::new_id());
    let mut inbox = watch_in(&office, &agent, session).await;
    inbox.message().await.unwrap();
    let request =
        SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: AvailabilityState::Watching.into() };
    office.inbox().set_availability(in_session(&office, &agent, session, request)).await.unwrap();
    drop(inbox);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    let inbox = watch_in(&office, &agent, session).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Watching, "the sign-in is the same");
    drop(inbox);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    let _inbox = watch_in(&office, &agent, next).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active, "he has signed in anew");
}

/// The client of a sign-in says that it is there.
async fn beat(office: &Office, person: &Person, session: Uuid, background: bool) -> HeartbeatResponse {
    let request = in_session(office, person, session, HeartbeatRequest { background });
    let mut client = PresenceServiceClient::new(office.world.to("conversation"));
    client.heartbeat(request).await.unwrap().into_inner()
}

fn millis(duration: Option<prost_types::Duration>) -> u128 {
    Duration::try_from(duration.unwrap()).unwrap().as_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_somebody_there_and_their_end_makes_him_offline_after_the_grace_period() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let session = ids::new_id();
    let told = beat(&office, &agent, session, false).await;
    assert_eq!(told.availability.unwrap().state(), AvailabilityState::Active);
    assert_eq!((millis(told.next_within), millis(told.kept_for)), (600, 600 + GRACE.as_millis()));
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let since = own_since(&office, &agent).await;
    for _ in 0..10 {
        tokio::time::sleep(GRACE / 2).await;
        beat(&office, &agent, session, false).await;
    }
    assert_eq!(own_since(&office, &agent).await, since, "he never was away");
    assert_eq!(office.count("select count(*) from live_sessions").await, 1);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    let told = beat(&office, &agent, session, false).await;
    assert_eq!(told.availability.unwrap().state(), AvailabilityState::Active, "he is back");
}

async fn own_since(office: &Office, person: &Person) -> Option<prost_types::Timestamp> {
    let request = office.world.request(person, GetMyAvailabilityRequest {});
    office.inbox().get_my_availability(request).await.unwrap().into_inner().availability.unwrap().since
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_heartbeats_count_together() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let inbox = office.watch(&agent).await;
    let since = own_since(&office, &agent).await;
    beat(&office, &agent, ids::new_id(), true).await;
    drop(inbox);
    office.until("select count(*) from live_sessions where lease_until <= now() - interval '1 second'", 1).await;
    assert_eq!(
        (office.availability(&agent).await, own_since(&office, &agent).await),
        (AvailabilityState::Active, since)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_the_background_keeps_its_owners_place_until_it_is_back() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let session = ids::new_id();
    beat(&office, &agent, session, false).await;
    switch(&office, &agent, AvailabilityState::Watching).await.unwrap();
    let told = beat(&office, &agent, session, true).await;
    assert_eq!(millis(told.kept_for), 60_000 + GRACE.as_millis());
    tokio::time::sleep(Duration::from_millis(600) + 3 * GRACE).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Watching, "silence was announced");
    beat(&office, &agent, session, false).await;
    becomes(&office, &agent, AvailabilityState::Offline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_is_gone_at_once_and_his_choice_with_him_unless_he_is_there_in_another_sign_in() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let sessions = [ids::new_id(), ids::new_id()];
    let choice =
        SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: AvailabilityState::Watching.into() };
    beat(&office, &agent, sessions[0], true).await;
    office.inbox().set_availability(in_session(&office, &agent, sessions[0], choice)).await.unwrap();
    let signed_out = |session: Uuid, version: i64| {
        let ended = SessionEnded { session_id: session.to_string(), user_id: agent.user.to_string() };
        office.users.write(agent.account, session, version, &ended);
    };
    // The other sign-in is there with his choice, so it holds in it too.
    beat(&office, &agent, sessions[1], true).await;
    signed_out(sessions[0], 1);
    office.until("select count(*) from live_sessions", 1).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Watching);
    office.until("select count(*) from presence where chosen = 'WATCHING' and array_length(sign_ins, 1) = 1", 1).await;
    signed_out(sessions[1], 1);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    assert_eq!(office.count("select count(*) from presence where chosen is null and sign_ins = '{}'").await, 1);
    beat(&office, &agent, ids::new_id(), false).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active, "he has signed in anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_holds_in_whichever_sign_in_comes_back_first_after_a_lost_network() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let [desk, phone] = [ids::new_id(), ids::new_id()];
    beat(&office, &agent, desk, false).await;
    beat(&office, &agent, phone, false).await;
    let choice =
        SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: AvailabilityState::Watching.into() };
    office.inbox().set_availability(in_session(&office, &agent, desk, choice)).await.unwrap();
    becomes(&office, &agent, AvailabilityState::Offline).await;
    beat(&office, &agent, phone, false).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Watching);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_lives_by_another_ones_heartbeats() {
    let office = Office::open(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let session = ids::new_id();
    beat(&office, &agent, session, false).await;
    for _ in 0..6 {
        beat(&office, &colleague, session, false).await;
        tokio::time::sleep(GRACE).await;
    }
    becomes(&office, &agent, AvailabilityState::Offline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_own_session_or_its_account_and_no_other() {
    let office = Office::open(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let sessions: [Uuid; 2] = [ids::new_id(), ids::new_id()];
    let mut inbox = watch_in(&office, &agent, sessions[0]).await;
    let mut other = watch_in(&office, &agent, sessions[1]).await;
    let mut theirs = watch_in(&office, &colleague, ids::new_id()).await;
    for stream in [&mut inbox, &mut other, &mut theirs] {
        stream.message().await.unwrap();
    }
    let revoke = |subject: RevocationSubject, id: Uuid| {
        let revocation = Revocation { subject: subject.into(), subject_id: id.to_string(), epoch: 1 };
        office.world.revocations.learn(&[revocation], Timestamp::MAX);
    };
    revoke(RevocationSubject::Session, sessions[0]);
    assert_eq!(end(&mut inbox).await.code(), Code::Unauthenticated);
    office.until("select count(*) from live_sessions where lease_until <= now()", 1).await;
    for stream in [&mut other, &mut theirs] {
        let quiet = tokio::time::timeout(GRACE, end(stream)).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
    revoke(RevocationSubject::Account, agent.account);
    for stream in [&mut other, &mut theirs] {
        assert_eq!(end(stream).await.code(), Code::Unauthenticated);
    }
}

/// How a stream ends.
async fn end(stream: &mut Streaming<WatchInboxResponse>) -> Status {
    loop {
        match stream.message().await {
            Ok(more) => drop(more.expect("no end in peace")),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_nobody_switches_and_nobody_chooses_offline() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let status = switch(&office, &agent, AvailabilityState::Active).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("NO_LIVE_SESSION"));
    let status = switch(&office, &agent, AvailabilityState::Offline).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_replica_that_died_ends_by_its_lease_and_leaves_no_ghost() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    // As a replica leaves it that is killed: the session stands, and nobody extends it.
    for statement in [
        "insert into presence values ($1, $2, 'ACTIVE', now(), 1)",
        "insert into live_sessions values ($1, gen_random_uuid(), $2, now() + interval '200 milliseconds')",
    ] {
        sqlx::query(statement).bind(agent.account).bind(agent.user).execute(office.pool()).await.unwrap();
    }
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active);
    becomes(&office, &agent, AvailabilityState::Offline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_session_was_lost_ends_so_that_its_client_comes_back() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let mut inbox = office.watch(&agent).await;
    sqlx::query("delete from live_sessions").execute(office.pool()).await.unwrap();
    let ended = loop {
        if let Err(status) = inbox.try_next().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_process_drains() {
    let office = Office::open(0).await;
    let mut inbox = office.watch(&office.owner).await;
    office.world.drain.begin();
    let ended = loop {
        if let Err(status) = inbox.try_next().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(office.world.drain.finished(LIMIT).await, "a worker does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_was_on_its_way_when_its_owner_signed_out_makes_no_ghost() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let session = ids::new_id();
    beat(&office, &agent, session, true).await;
    let ended = SessionEnded { session_id: session.to_string(), user_id: agent.user.to_string() };
    office.users.write(agent.account, session, 1, &ended);
    becomes(&office, &agent, AvailabilityState::Offline).await;
    // Its access token is good for some minutes.
    let late = in_session(&office, &agent, session, HeartbeatRequest { background: true });
    let refused = PresenceServiceClient::new(office.world.to("conversation")).heartbeat(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let late = in_session(&office, &agent, session, WatchInboxRequest::default());
    assert_eq!(office.inbox().watch_inbox(late).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(office.availability(&agent).await, AvailabilityState::Offline);
    assert_eq!(office.count("select count(*) from live_sessions").await, 0);
    beat(&office, &agent, ids::new_id(), false).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active, "he has signed in anew");
}
