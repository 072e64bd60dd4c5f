//! What changes between a look and the act that follows from it, and events that overtake each other.

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        AvailabilityState, ConversationState, IngestMessageRequest, SetAvailabilityRequest, TakeConversationRequest,
        watch_inbox_response::Event as Shown,
    },
};
use diwan_runtime::ids;
use diwan_testkit::{Person, eventually};
use sqlx::{PgConnection, PgTransaction};
use tonic::Code;
use uuid::Uuid;

use crate::support::{Inbox, LIMIT, Office};

/// Keeps every later event of the feed back until it ends.
async fn hold_feed_back(office: &Office) -> PgTransaction<'static> {
    let mut open = office.pool().begin().await.unwrap();
    sqlx::query("select pg_current_xact_id()").execute(&mut *open).await.unwrap();
    open
}

/// Waits until somebody waits for a lock that `open` has.
pub async fn waits_for(office: &Office, open: &mut PgConnection) {
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(open).await.unwrap();
    eventually("a transaction waits", LIMIT, async || {
        sqlx::query_scalar::<_, bool>(
            "select exists (select from pg_stat_activity where $1 = any(pg_blocking_pids(pid)))",
        )
        .bind(pid)
        .fetch_one(office.pool())
        .await
        .unwrap()
    })
    .await;
}

/// Reads until `last` has left or has been shown, and returns what was said of `id` last.
async fn last_word(inbox: &mut Inbox, id: Uuid, last: Uuid) -> Option<Shown> {
    let mut said = None;
    loop {
        let event = inbox.next().await;
        let about = match &event {
            Shown::Changed(changed) => changed.conversation.as_ref().unwrap().id.clone(),
            Shown::GoneConversationId(id) => id.clone(),
            _ => continue,
        };
        if about == id.to_string() {
            said = Some(event);
        } else if about == last.to_string() {
            return said;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_team_while_he_is_deactivated_gets_no_slot_beside_it() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let further = ids::new_id();
    office.set_team(further, 1, |_| {});
    office.until("select count(*) from teams", 2).await;
    // As a deactivation is between its look at the user and its commit.
    let mut deactivation = office.pool().begin().await.unwrap();
    sqlx::query("update users set active = false, version = 99 where id = $1")
        .bind(agent.user)
        .execute(&mut *deactivation)
        .await
        .unwrap();
    let slots = "select count(*) from slots where member";
    let before = office.count(slots).await;
    office.set_member(&agent, further, 1, true);
    waits_for(&office, &mut deactivation).await;
    assert_eq!(office.count(slots).await, before, "the slot waits for the deactivation");
    deactivation.commit().await.unwrap();
    office.until(slots, before + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_moves_on_while_its_holder_loses_the_team_leaves_his_stream() {
    let office = Office::open(0).await;
    let leaver = office.agent().await;
    let mut inbox = office.watch(&leaver).await;
    let id = office.arrive().await;
    office.held_by(&leaver, id).await;
    assert_eq!(inbox.change().await.id, id.to_string());
    assert_eq!(inbox.change().await.id, id.to_string());
    let heir = office.agent().await;
    let open = hold_feed_back(&office).await;
    office.set_member(&leaver, office.team, 2, false);
    eventually("it is in the queue", LIMIT, async || {
        office.get(&office.owner, id).await.unwrap().state() == ConversationState::Queued
    })
    .await;
    office.take(&heir, id).await.unwrap();
    open.rollback().await.unwrap();
    let gone = Shown::GoneConversationId(id.to_string());
    eventually("it leaves the stream", LIMIT, async || inbox.next().await == gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_overtaken_does_not_bring_back_what_is_gone() {
    let office = Office::open(0).await;
    let watcher = office.agent().await;
    let taker = office.agent().await;
    let mail = office.mail();
    let mut inbox = office.watch(&watcher).await;
    let request = SetAvailabilityRequest { request_id: "by hand".into(), state: AvailabilityState::Watching.into() };
    office.inbox().set_availability(office.world.request(&watcher, request)).await.unwrap();
    let id = office.deliver(mail.clone()).await;
    // The taking gets its transaction number and waits; meanwhile the customer writes again; then it is taken.
    let mut open = office.pool().begin().await.unwrap();
    sqlx::query("select from users where id = $1 for update").bind(taker.user).execute(&mut *open).await.unwrap();
    let taking = async { office.take(&taker, id).await.unwrap() };
    let overtaking = async {
        waits_for(&office, &mut open).await;
        let more = IngestMessageRequest {
            references: vec![mail.rfc_message_id.clone()],
            from_email: mail.from_email.clone(),
            ..office.mail()
        };
        assert_eq!(office.deliver(more).await, id);
        open.rollback().await.unwrap();
    };
    tokio::join!(taking, overtaking);
    let last = office.arrive().await;
    assert_eq!(last_word(&mut inbox, id, last).await, Some(Shown::GoneConversationId(id.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_team_while_he_takes_gets_nothing() {
    let office = Office::open(0).await;
    let leaver = office.agent().await;
    let id = office.arrive().await;
    let mut leaving = office.pool().begin().await.unwrap();
    sqlx::query("update slots set member = false, membership_version = 2 where user_id = $1")
        .bind(leaver.user)
        .execute(&mut *leaving)
        .await
        .unwrap();
    let taking = async { office.take(&leaver, id).await };
    let left = async {
        waits_for(&office, &mut leaving).await;
        leaving.commit().await.unwrap();
    };
    let (taken, ()) = tokio::join!(taking, left);
    assert_eq!(taken.unwrap_err().code(), Code::NotFound);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_of_another_person_does_not_show_what_he_was_answered() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    let take = async |person: &Person| {
        let request = TakeConversationRequest { request_id: "1".into(), conversation_id: id.to_string() };
        office.conversations().take_conversation(office.world.request(person, request)).await
    };
    take(&office.owner).await.unwrap();
    let stranger = office.owner.colleague(Role::User);
    let refused = take(&stranger).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("REQUEST_ID_REUSED"));
    take(&office.owner).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_deactivated_while_the_routing_decides_gets_nothing() {
    let office = Office::open(0).await;
    let (leaver, stays) = (office.agent().await, office.agent().await);
    // Neither has had one: the one with the lower id is first.
    assert!(leaver.user < stays.user);
    let _inboxes = (office.watch(&leaver).await, office.watch(&stays).await);
    // As flow::members does when identity's event is applied.
    let mut leaving = office.pool().begin().await.unwrap();
    for statement in [
        "update users set active = false, version = 9 where id = $1",
        "select from slots where user_id = $1 for no key update",
    ] {
        sqlx::query(statement).bind(leaver.user).execute(&mut *leaving).await.unwrap();
    }
    let id = office.arrive().await;
    waits_for(&office, &mut leaving).await;
    leaving.commit().await.unwrap();
    office.held_by(&stays, id).await;
    office.audit().await;
}
