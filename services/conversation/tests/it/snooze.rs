//! Conversations that are put off, and how they wake.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_launch::Component as _;
use diwan_proto::conversation::v1::{
    AvailabilityState, ConversationState, IngestMessageRequest, SnoozeConversationRequest, TransitionCause,
};
use diwan_runtime::{Clock as _, Env, MockClock, ids};
use diwan_testkit::{Person, eventually};
use uuid::Uuid;

use crate::{
    acts::ahead,
    support::{Inbox, LIMIT, Office},
};

const HOUR: Duration = Duration::from_hours(1);

/// One agent who has put off the one conversation that his limit allows.
struct Later {
    clock: MockClock,
    office: Office,
    agent: Person,
    id: Uuid,
    mail: IngestMessageRequest,
    _inbox: Inbox,
}

impl Later {
    async fn new() -> Self {
        let clock = MockClock::at("2026-11-23T09:00Z".parse().unwrap());
        let office = Office::open_at(&clock, 1).await;
        let agent = office.agent().await;
        let inbox = office.watch(&agent).await;
        let mail = office.mail();
        let id = office.deliver(mail.clone()).await;
        office.held_by(&agent, id).await;
        let put_off = office.snooze(&agent, id, ahead(clock.now(), HOUR)).await.unwrap();
        assert_eq!(
            (put_off.state(), put_off.holder_id.as_str()),
            (ConversationState::Snoozed, &*agent.user.to_string())
        );
        Self { clock, office, agent, id, mail, _inbox: inbox }
    }

    async fn state(&self) -> ConversationState {
        self.office.get(&self.office.owner, self.id).await.unwrap().state()
    }

    async fn becomes(&self, state: ConversationState) {
        eventually("it has this state", LIMIT, async || self.state().await == state).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_no_slot_and_wakes_to_its_holder_at_its_time() {
    let later = Later::new().await;
    let (office, agent) = (&later.office, &later.agent);
    // His slot is free for another one, which he closes in time.
    let between = office.arrive().await;
    office.held_by(agent, between).await;
    office.close(agent, between).await.unwrap();
    // He may answer, and it stays put off.
    office.reply(agent, later.id, "Tomorrow.").await.unwrap();
    later.clock.advance(Duration::from_mins(59));
    assert_eq!(later.state().await, ConversationState::Snoozed);
    later.clock.advance(Duration::from_mins(1));
    office.held_by(agent, later.id).await;
    let record = office.last_transition(later.id).await;
    assert_eq!((record.cause(), record.actor_id.as_str()), (TransitionCause::Woken, ""));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_wakes_into_the_queue_when_its_holder_is_full_and_he_gets_it_when_his_turn_comes() {
    let later = Later::new().await;
    let (office, agent) = (&later.office, &later.agent);
    let between = office.arrive().await;
    office.held_by(agent, between).await;
    later.clock.advance(HOUR);
    later.becomes(ConversationState::Queued).await;
    assert_eq!(office.get(agent, between).await.unwrap().state(), ConversationState::Open);
    office.close(agent, between).await.unwrap();
    office.held_by(agent, later.id).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_wakes_into_the_queue_when_its_holder_only_watches() {
    let later = Later::new().await;
    let office = &later.office;
    let request = diwan_proto::conversation::v1::SetAvailabilityRequest {
        request_id: "watching".into(),
        state: AvailabilityState::Watching.into(),
    };
    office.inbox().set_availability(office.world.request(&later.agent, request)).await.unwrap();
    later.clock.advance(HOUR);
    later.becomes(ConversationState::Queued).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_message_wakes_it() {
    let later = Later::new().await;
    let (office, mail) = (&later.office, &later.mail);
    let more = IngestMessageRequest {
        references: vec![mail.rfc_message_id.clone()],
        from_email: mail.from_email.clone(),
        ..office.mail()
    };
    assert_eq!(office.deliver(more).await, later.id);
    office.held_by(&later.agent, later.id).await;
    assert_eq!(office.last_transition(later.id).await.cause(), TransitionCause::Woken);
    // Its old time means nothing any more.
    later.clock.advance(2 * HOUR);
    assert_eq!(office.transitions(later.id).await.len(), 4, "arrival, automatic, snoozed, woken");
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_holder_wakes_it_above_his_limit_and_an_administrator_as_its_time_would() {
    let later = Later::new().await;
    let (office, agent) = (&later.office, &later.agent);
    let between = office.arrive().await;
    office.held_by(agent, between).await;
    let woken = office.unsnooze(agent, later.id).await.unwrap();
    assert!(woken.over_limit && woken.conversation.unwrap().state() == ConversationState::Open);
    assert!(office.last_transition(later.id).await.over_limit);
    office.snooze(agent, later.id, ahead(later.clock.now(), HOUR)).await.unwrap();
    let woken = office.unsnooze(&office.owner, later.id).await.unwrap();
    assert_eq!(woken.conversation.unwrap().state(), ConversationState::Queued, "he is full");
    let refused = office.unsnooze(&office.owner, later.id).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_SNOOZED"));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_put_off_further_and_only_to_a_time_ahead_within_a_year() {
    let later = Later::new().await;
    let (office, agent, now) = (&later.office, &later.agent, later.clock.now());
    for until in [None, Some(ahead(now, Duration::ZERO)), Some(ahead(now, Duration::from_hours(24 * 367)))] {
        let refused = office.snooze(agent, later.id, until).await.unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("INVALID_FIELDS"));
    }
    office.snooze(&office.owner, later.id, ahead(now, 2 * HOUR)).await.unwrap();
    later.clock.advance(HOUR + Duration::from_mins(1));
    assert_eq!(later.state().await, ConversationState::Snoozed);
    later.clock.advance(HOUR);
    office.held_by(agent, later.id).await;
    let waiting = office.arrive().await;
    let refused = office.snooze(agent, waiting, ahead(later.clock.now(), HOUR)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_HOLDER"));
    let refused = office.snooze(&office.owner, waiting, ahead(later.clock.now(), HOUR)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_HELD"));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_due_while_no_process_ran_wakes_when_one_starts() {
    let later = Later::new().await;
    let office = &later.office;
    // The running process has not heard of this time, as one that was down has not.
    sqlx::query("update conversations set snoozed_until = snoozed_until - interval '2 hours' where id = $1")
        .bind(later.id)
        .execute(office.pool())
        .await
        .unwrap();
    let env = Env::default().with("DIWAN_CONVERSATION_DATABASE_URL", &office.database.url);
    let _second = diwan_conversation::Service.start(office.world.context("conversation", env)).await.unwrap();
    office.held_by(&later.agent, later.id).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_when_its_time_has_come_gets_the_answer_that_he_missed() {
    let later = Later::new().await;
    let (office, agent) = (&later.office, &later.agent);
    later.clock.advance(2 * HOUR);
    later.becomes(ConversationState::Open).await;
    let request = SnoozeConversationRequest {
        request_id: ids::new_id().to_string(),
        conversation_id: later.id.to_string(),
        until: Some(ahead(later.clock.now(), HOUR)),
    };
    let snooze = async || {
        let answer = office.handling().snooze_conversation(office.world.request(agent, request.clone())).await;
        answer.map(|answer| answer.into_inner().conversation.unwrap())
    };
    let first = snooze().await.unwrap();
    later.clock.advance(2 * HOUR);
    assert_eq!(snooze().await.unwrap(), first);
    let another = office.snooze(agent, later.id, request.until).await.unwrap_err();
    assert_eq!(reason_of(&another).as_deref(), Some("INVALID_FIELDS"), "a new one may not lie in the past");
}
