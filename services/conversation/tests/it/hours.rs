//! Working hours: outside them nothing is assigned automatically.

use std::time::Duration;

use diwan_proto::{
    conversation::v1::{ConversationState, IngestMessageRequest, TransitionCause},
    team::v1::{Shift, Team, Weekday, WorkingDay, WorkingHours},
};
use diwan_runtime::{Clock as _, MockClock, ids};
use diwan_testkit::{Person, eventually};
use uuid::Uuid;

use crate::{
    acts::ahead,
    support::{Inbox, LIMIT, Office},
};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const WAITING: &str = "select count(*) from conversations where state = 'QUEUED'";

/// Mondays from nine to five in Cairo, which is two hours ahead in winter.
fn mondays(team: &mut Team) {
    let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
    let days = vec![WorkingDay { weekday: Weekday::Monday.into(), shifts }];
    team.working_hours = Some(WorkingHours { days, holidays: vec!["2026-11-30".into()] });
    team.time_zone = "Africa/Cairo".into();
}

/// A team with hours, two hours before they begin, and one agent who is there, also in a team that is always open.
struct Morning {
    clock: MockClock,
    office: Office,
    agent: Person,
    always: Uuid,
    _inbox: Inbox,
}

impl Morning {
    async fn new(limit: i32) -> Self {
        let clock = MockClock::at("2026-11-23T05:00Z".parse().unwrap());
        let office = Office::open_at(&clock, limit).await;
        let always = ids::new_id();
        office.set_team(always, 1, |_| {});
        let agent = office.agent().await;
        office.set_member(&agent, always, 1, true);
        let morning = Self { _inbox: office.watch(&agent).await, clock, office, agent, always };
        morning.set_hours(2, limit, mondays).await;
        morning
    }

    async fn set_hours(&self, version: i64, limit: i32, change: impl FnOnce(&mut Team)) {
        self.office.set_team(self.office.team, version, |team| {
            (team.assignment_limit, team.fallback) = (limit, true);
            change(team);
        });
        eventually("the hours are known", LIMIT, async || {
            let known = sqlx::query_scalar::<_, i64>("select version from teams where id = $1").bind(self.office.team);
            known.fetch_one(self.office.pool()).await.unwrap() == version
        })
        .await;
    }

    /// Waits until the agent has got something of the team that is always open: what could be assigned before it would be.
    async fn pass(&self) {
        for _ in 0..3 {
            let mail = IngestMessageRequest { team_id: self.always.to_string(), ..self.office.mail() };
            let id = self.office.deliver(mail).await;
            self.office.held_by(&self.agent, id).await;
        }
    }

    async fn state(&self, id: Uuid) -> ConversationState {
        self.office.get(&self.office.owner, id).await.unwrap().state()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_whose_hours_cannot_be_read_holds_up_no_other_one_and_nothing_that_is_to_wake() {
    let morning = Morning::new(2).await;
    let office = &morning.office;
    let damaged = ids::new_id();
    office.set_team(damaged, 1, mondays);
    office.until("select count(*) from teams where working_hours is not null", 2).await;
    // It is due before all others, at every look.
    let damage = "update teams set working_hours = '{}', changes_at = changes_at - interval '1 hour' where id = $1";
    sqlx::query(damage).bind(damaged).execute(office.pool()).await.unwrap();
    let (waiting, asleep) = (office.arrive().await, office.arrive().await);
    office.take(&morning.agent, asleep).await.unwrap();
    office.snooze(&morning.agent, asleep, ahead(morning.clock.now(), HOUR)).await.unwrap();
    morning.clock.advance(2 * HOUR);
    office.held_by(&morning.agent, asleep).await;
    office.held_by(&morning.agent, waiting).await;
    let turned = "select count(*) from teams where open and working_hours <> '{}'";
    office.until(turned, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_teams_queue_waits_and_goes_out_oldest_first_when_the_shift_starts() {
    let morning = Morning::new(2).await;
    let office = &morning.office;
    let mut arrived = Vec::new();
    for _ in 0..4 {
        arrived.push(office.arrive().await);
        morning.clock.advance(MINUTE);
    }
    morning.pass().await;
    morning.clock.advance(HOUR + 55 * MINUTE);
    morning.pass().await;
    assert_eq!(office.count(WAITING).await, 4, "it is 8:59 in Cairo");
    morning.clock.advance(MINUTE);
    office.held_by(&morning.agent, arrived[0]).await;
    office.held_by(&morning.agent, arrived[1]).await;
    assert_eq!(office.count(WAITING).await, 2);

    // A place that becomes free after the shift stays free until the next one, which is not on the holiday.
    morning.clock.advance(8 * HOUR);
    office.close(&morning.agent, arrived[0]).await.unwrap();
    office.close(&morning.agent, arrived[1]).await.unwrap();
    morning.pass().await;
    morning.clock.advance(Duration::from_hours(7 * 24 - 7));
    morning.pass().await;
    assert_eq!(office.count(WAITING).await, 2);
    morning.clock.advance(Duration::from_hours(7 * 24));
    office.held_by(&morning.agent, arrived[2]).await;
    office.held_by(&morning.agent, arrived[3]).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_opens_at_once_when_its_hours_go_or_its_account_moves_to_a_zone_where_it_is_day() {
    let morning = Morning::new(0).await;
    let office = &morning.office;
    let first = office.arrive().await;
    morning.pass().await;
    assert_eq!(morning.state(first).await, ConversationState::Queued);
    let moved = |team: &mut Team| {
        mondays(team);
        team.time_zone = "Asia/Tokyo".into();
    };
    morning.set_hours(3, 0, moved).await;
    office.held_by(&morning.agent, first).await;
    morning.set_hours(4, 0, mondays).await;
    let second = office.arrive().await;
    morning.pass().await;
    assert_eq!(morning.state(second).await, ConversationState::Queued);
    morning.set_hours(5, 0, |_| {}).await;
    office.held_by(&morning.agent, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_hours_one_takes_by_hand_and_what_reopens_joins_the_queue() {
    let morning = Morning::new(0).await;
    let office = &morning.office;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    office.take(&morning.agent, id).await.unwrap();
    office.close(&morning.agent, id).await.unwrap();
    let answer = || IngestMessageRequest {
        from_email: mail.from_email.clone(),
        references: vec![mail.rfc_message_id.clone()],
        ..office.mail()
    };
    assert_eq!(office.deliver(answer()).await, id);
    morning.pass().await;
    assert_eq!(morning.state(id).await, ConversationState::Queued);
    morning.clock.advance(2 * HOUR);
    office.held_by(&morning.agent, id).await;
    office.close(&morning.agent, id).await.unwrap();
    assert_eq!(office.deliver(answer()).await, id);
    office.held_by(&morning.agent, id).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_whose_beginning_nobody_was_woken_for_is_found_by_the_sweeper() {
    let morning = Morning::new(0).await;
    let id = morning.office.arrive().await;
    morning.pass().await;
    // As a replica leaves it that dies between the turn and the wake-up.
    sqlx::query("update teams set open = true, changes_at = null where not open")
        .execute(morning.office.pool())
        .await
        .unwrap();
    morning.clock.advance(2 * HOUR);
    morning.office.held_by(&morning.agent, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_hours_what_wakes_and_what_would_go_to_whom_its_customer_had_joins_the_queue() {
    let morning = Morning::new(0).await;
    let office = &morning.office;
    let sticky = |team: &mut Team| {
        mondays(team);
        team.sticky_owner = true;
    };
    morning.set_hours(3, 0, sticky).await;
    let mail = office.mail();
    let put_off = office.deliver(mail.clone()).await;
    office.take(&morning.agent, put_off).await.unwrap();
    office.snooze(&morning.agent, put_off, ahead(morning.clock.now(), HOUR)).await.unwrap();
    let again = IngestMessageRequest { from_email: mail.from_email, ..office.mail() };
    let new = office.deliver(again.clone()).await;
    assert_eq!(morning.state(new).await, ConversationState::Queued);
    morning.clock.advance(HOUR);
    eventually("it wakes", LIMIT, async || morning.state(put_off).await == ConversationState::Queued).await;
    morning.pass().await;
    assert_eq!(office.count(WAITING).await, 2, "it is eight in Cairo");
    morning.clock.advance(HOUR);
    for id in [new, put_off] {
        office.held_by(&morning.agent, id).await;
    }
    let new = office.deliver(IngestMessageRequest { message_id: ids::new_id().to_string(), ..again }).await;
    assert_eq!(office.last_transition(new).await.cause(), TransitionCause::StickyOwner);
    office.audit().await;
}
