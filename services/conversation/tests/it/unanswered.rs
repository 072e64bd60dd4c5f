//! What an agent leaves unanswered is offered to others.

use std::time::Duration;

use diwan_launch::Component as _;
use diwan_proto::{
    conversation::v1::{
        ConversationState, IngestMessageRequest, Transition,
        TransitionCause::{self, Arrival, Automatic, HolderOffline, NoAnswer},
    },
    team::v1::{Shift, Team, Weekday, WorkingDay, WorkingHours},
};
use diwan_runtime::{Env, MockClock, ids};
use diwan_testkit::{Person, eventually};
use uuid::Uuid;

use crate::support::{Inbox, LIMIT, Office};

const MINUTE: Duration = Duration::from_mins(1);
const TIMERS: &str = "select count(*) from answer_timers";
/// Timers that are not to be looked at before an hour has passed.
const RESTING: &str = "select count(*) from answer_timers where due_at > '2026-11-23T13:00Z'";

/// A team whose agents have ten minutes, on a Monday at noon, and three of them.
struct Desk {
    clock: MockClock,
    office: Office,
    agents: Vec<Person>,
    inboxes: Vec<Inbox>,
}

impl Desk {
    async fn new(agents: usize, change: impl FnOnce(&mut Team)) -> Self {
        let clock = MockClock::at("2026-11-23T12:00Z".parse().unwrap());
        let office = Office::open_at(&clock, 0).await;
        let mut desk = Self { clock, office, agents: Vec::new(), inboxes: Vec::new() };
        desk.set(2, change).await;
        for _ in 0..agents {
            desk.join().await;
        }
        desk
    }

    async fn join(&mut self) {
        let agent = self.office.agent().await;
        self.inboxes.push(self.office.watch(&agent).await);
        self.agents.push(agent);
    }

    async fn set(&self, version: i64, change: impl FnOnce(&mut Team)) {
        self.office.set_team(self.office.team, version, |team| {
            (team.fallback, team.no_answer_after_minutes) = (true, 10);
            change(team);
        });
        eventually("the settings are known", LIMIT, async || {
            let known = sqlx::query_scalar::<_, i64>("select version from teams where id = $1").bind(self.office.team);
            known.fetch_one(self.office.pool()).await.unwrap() == version
        })
        .await;
    }

    /// Waits until somebody of the agents holds it, and says who.
    async fn holder(&self, id: Uuid) -> Person {
        eventually("somebody holds it", LIMIT, async || {
            self.office.get(&self.office.owner, id).await.unwrap().state() == ConversationState::Open
        })
        .await;
        let holder = self.office.get(&self.office.owner, id).await.unwrap().holder_id;
        self.agents.iter().find(|agent| agent.user.to_string() == holder).unwrap().clone()
    }

    /// Waits until somebody else than before holds it.
    async fn goes_on_from(&self, before: &Person, id: Uuid) -> Person {
        eventually("it goes on", LIMIT, async || {
            let found = self.office.get(&self.office.owner, id).await.unwrap();
            found.state() == ConversationState::Open && found.holder_id != before.user.to_string()
        })
        .await;
        self.holder(id).await
    }

    async fn causes(&self, id: Uuid) -> Vec<TransitionCause> {
        self.office.transitions(id).await.iter().map(Transition::cause).collect()
    }

    /// Waits until everything whose time has come has been looked at.
    async fn looked(&self) {
        eventually("nothing is due", LIMIT, async || {
            let due =
                sqlx::query_scalar::<_, i64>("select count(*) from answer_timers where due_at <= $1::timestamptz")
                    .bind(self.office.world.clock.now().to_string());
            due.fetch_one(self.office.pool()).await.unwrap() == 0
        })
        .await;
    }

    fn answer_of(&self, mail: &IngestMessageRequest) -> IngestMessageRequest {
        IngestMessageRequest {
            from_email: mail.from_email.clone(),
            references: vec![mail.rfc_message_id.clone()],
            ..self.office.mail()
        }
    }
}

fn nine_to_five(team: &mut Team) {
    let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
    let day = |weekday: Weekday| WorkingDay { weekday: weekday.into(), shifts: shifts.clone() };
    team.working_hours =
        Some(WorkingHours { days: vec![day(Weekday::Monday), day(Weekday::Tuesday)], holidays: vec![] });
    team.time_zone = "UTC".into();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_does_not_answer_in_time_goes_to_each_other_one_once_and_then_stays() {
    let desk = Desk::new(3, |_| {}).await;
    let id = desk.office.arrive().await;
    let first = desk.holder(id).await;
    desk.clock.advance(9 * MINUTE);
    desk.looked().await;
    assert_eq!(desk.holder(id).await.user, first.user);
    desk.clock.advance(MINUTE);
    let second = desk.goes_on_from(&first, id).await;
    desk.clock.advance(10 * MINUTE);
    let third = desk.goes_on_from(&second, id).await;
    assert_ne!(third.user, first.user, "he was asked already");
    desk.clock.advance(50 * MINUTE);
    desk.office.until(RESTING, 1).await;
    assert_eq!(desk.holder(id).await.user, third.user, "nobody is left to be asked");
    assert_eq!(desk.causes(id).await, [Arrival, Automatic, NoAnswer, Automatic, NoAnswer, Automatic]);
    // Who stands in for others gets no fewer new ones for it.
    assert_eq!(desk.office.count("select sum(automatic_count)::bigint from slots").await, 1);
    assert_eq!(desk.office.violations().await, []);
    desk.office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_it_and_the_customers_next_message_starts_the_time_anew() {
    let desk = Desk::new(2, |_| {}).await;
    let mail = desk.office.mail();
    let id = desk.office.deliver(mail.clone()).await;
    let agent = desk.holder(id).await;
    desk.clock.advance(9 * MINUTE);
    desk.office.reply(&agent, id, "Have you tried another lamp?").await.unwrap();
    desk.clock.advance(60 * MINUTE);
    desk.office.until(TIMERS, 0).await;
    // What a machine writes waits for no answer.
    let away = IngestMessageRequest { automatic: true, ..desk.answer_of(&mail) };
    assert_eq!(desk.office.deliver(away).await, id);
    assert_eq!(desk.office.count(TIMERS).await, 0);
    assert_eq!(desk.office.deliver(desk.answer_of(&mail)).await, id);
    desk.clock.advance(9 * MINUTE);
    desk.looked().await;
    assert_eq!(desk.holder(id).await.user, agent.user);
    desk.clock.advance(MINUTE);
    desk.goes_on_from(&agent, id).await;
    desk.office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_away_for_nothing_and_who_comes_later_is_asked() {
    let mut desk = Desk::new(1, |_| {}).await;
    let id = desk.office.arrive().await;
    let alone = desk.holder(id).await;
    desk.clock.advance(60 * MINUTE);
    desk.office.until(RESTING, 1).await;
    assert_eq!(desk.holder(id).await.user, alone.user);
    desk.join().await;
    desk.clock.advance(10 * MINUTE);
    desk.goes_on_from(&alone, id).await;
    desk.office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outside_the_working_hours_does_not_count() {
    let desk = Desk::new(2, nine_to_five).await;
    desk.clock.advance(4 * 60 * MINUTE + 55 * MINUTE);
    let id = desk.office.arrive().await;
    let agent = desk.holder(id).await;
    desk.clock.advance(16 * 60 * MINUTE + 9 * MINUTE);
    desk.looked().await;
    assert_eq!(desk.holder(id).await.user, agent.user, "it is 9:04 on Tuesday: he has had nine minutes");
    desk.clock.advance(MINUTE);
    desk.goes_on_from(&agent, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_counts_for_what_is_held_already_and_ends_when_it_goes() {
    let desk = Desk::new(2, |team| team.no_answer_after_minutes = 0).await;
    let id = desk.office.arrive().await;
    let agent = desk.holder(id).await;
    desk.clock.advance(60 * MINUTE);
    assert_eq!(desk.office.count(TIMERS).await, 0);
    desk.set(3, |_| {}).await;
    let other = desk.goes_on_from(&agent, id).await;
    desk.set(4, |team| team.no_answer_after_minutes = 0).await;
    desk.clock.advance(60 * MINUTE);
    desk.office.until(TIMERS, 0).await;
    assert_eq!(desk.holder(id).await.user, other.user);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_look_at_once_take_each_away_once() {
    let desk = Desk::new(2, |_| {}).await;
    let office = &desk.office;
    let env = Env::default()
        .with("DIWAN_CONVERSATION_DATABASE_URL", &office.database.url)
        .with("DIWAN_CONVERSATION_GRACE_MS", "5000000000")
        .with("DIWAN_CONVERSATION_LEASE_MS", "5000000000");
    let _second = diwan_conversation::Service.start(office.world.context("conversation", env)).await.unwrap();
    for _ in 0..40 {
        office.arrive().await;
    }
    office.until("select count(*) from conversations where state = 'OPEN'", 40).await;
    // Those of one batch were given out microseconds after one another, and have ten minutes each.
    desk.clock.advance(11 * MINUTE);
    let moved = "select count(*) from transitions where cause = 'AUTOMATIC'";
    office.until(moved, 80).await;
    desk.looked().await;
    assert_eq!(office.count("select count(*) from transitions where cause = 'NO_ANSWER'").await, 40);
    let stayed = "select count(*) from conversations where state <> 'OPEN' or holder_id = any (asked)";
    assert_eq!(office.count(stayed).await, 0, "each is with the other one now");
    office.audit().await;
}

/// A team of two that is open, with an answered and an unanswered conversation of one of them.
async fn with_two_conversations() -> (Office, [(Person, Inbox); 2], [(Uuid, IngestMessageRequest); 2]) {
    let office = Office::open(0).await;
    office.set_team(office.team, 2, |team| (team.fallback, team.reassign_when_offline) = (true, true));
    office.until("select count(*) from teams where reassign_when_offline", 1).await;
    let agent = office.agent().await;
    let inbox = office.watch(&agent).await;
    let mails = [office.mail(), office.mail()];
    let mut conversations = Vec::new();
    for mail in mails {
        let id = office.deliver(mail.clone()).await;
        office.held_by(&agent, id).await;
        conversations.push((id, mail));
    }
    office.reply(&agent, conversations[0].0, "Done.").await.unwrap();
    let other = office.agent().await;
    let others = office.watch(&other).await;
    (office, [(agent, inbox), (other, others)], conversations.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_offline_keeps_what_he_has_answered_until_its_customer_writes_again() {
    let (office, [(agent, inbox), (other, _others)], [(answered, mail), (unanswered, _)]) =
        with_two_conversations().await;
    drop(inbox);
    office.held_by(&other, unanswered).await;
    office.until(TIMERS, 0).await;
    office.held_by(&agent, answered).await;
    let causes: Vec<_> = office.transitions(unanswered).await.iter().map(Transition::cause).collect();
    assert_eq!(causes, [Arrival, Automatic, HolderOffline, Automatic]);
    let more = IngestMessageRequest {
        from_email: mail.from_email.clone(),
        references: vec![mail.rfc_message_id.clone()],
        ..office.mail()
    };
    assert_eq!(office.deliver(more).await, answered);
    office.held_by(&other, answered).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_else_can_take_waits_in_the_queue_and_not_with_somebody_who_is_gone() {
    let (office, [(_, inbox), (_, others)], [_, (unanswered, _)]) = with_two_conversations().await;
    drop((inbox, others));
    office.until("select count(*) from conversations where state = 'QUEUED'", 1).await;
    let waits = office.get(&office.owner, unanswered).await.unwrap();
    assert_eq!(waits.state(), ConversationState::Queued);
    assert_eq!(waits.queued_at, waits.created_at, "its customer has waited since he wrote");
    office.audit().await;
    let late = office.agent().await;
    let _inbox = office.watch(&late).await;
    office.held_by(&late, unanswered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_by_hand_to_somebody_who_is_away_stays_with_him() {
    let (office, [(agent, inbox), (_, _others)], _) = with_two_conversations().await;
    drop(inbox);
    office.until("select count(*) from presence where state = 'OFFLINE'", 1).await;
    let id = office.arrive().await;
    office.until("select count(*) from conversations where state = 'QUEUED'", 0).await;
    let handling = diwan_proto::conversation::v1::handling_service_client::HandlingServiceClient::new(
        office.world.to("conversation"),
    );
    let request = diwan_proto::conversation::v1::AssignConversationRequest {
        request_id: ids::new_id().to_string(),
        conversation_id: id.to_string(),
        user_id: agent.user.to_string(),
    };
    handling.clone().assign_conversation(office.world.request(&office.owner, request)).await.unwrap();
    office.until(TIMERS, 0).await;
    office.held_by(&agent, id).await;
}
