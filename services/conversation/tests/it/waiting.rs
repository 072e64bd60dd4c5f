//! The order of a queue, the place in it, the expected wait, and alerts on long waits.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    AvailabilityState, ConversationState, IngestMessageRequest, Priority, SetAvailabilityRequest, TransitionCause,
    watch_inbox_response::Event as Shown,
};
use diwan_runtime::MockClock;
use diwan_testkit::eventually;

use crate::support::{Inbox, LIMIT, Office};

const MINUTE: Duration = Duration::from_mins(1);

fn clock() -> MockClock {
    MockClock::at("2026-11-23T09:00Z".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_goes_out_by_priority_then_age_and_the_positions_say_so_before() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    let (agent, owner) = (office.agent().await, &office.owner);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(office.arrive().await);
        clock.advance(MINUTE);
    }
    for (place, priority) in [(1, Priority::Low), (2, Priority::Urgent), (3, Priority::High), (4, Priority::Urgent)] {
        let changed = office.set_priority(&agent, ids[place], priority).await.unwrap();
        assert_eq!(changed.priority(), priority);
    }
    let order = [ids[2], ids[4], ids[3], ids[0], ids[1]];
    for (place, id) in (1..).zip(order) {
        assert_eq!(office.position(owner, id).await.unwrap().position, place);
    }
    let _inbox = office.watch(&agent).await;
    for id in order {
        office.held_by(&agent, id).await;
        let refused = office.position(&agent, id).await.unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("NOT_QUEUED"));
        office.close(&agent, id).await.unwrap();
    }
    let refused = office.set_priority(owner, ids[0], Priority::Low).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("ALREADY_CLOSED"));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_priority_is_no_transition_but_an_event_and_only_the_holder_changes_that_of_what_is_held() {
    let office = Office::open(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    office.set_team(office.team, 2, |team| team.visibility_level = 4);
    office.until("select count(*) from teams where visibility = 4", 1).await;
    let id = office.arrive().await;
    office.take(&agent, id).await.unwrap();
    let mut inbox = office.watch(&office.owner).await;
    office.set_priority(&agent, id, Priority::High).await.unwrap();
    eventually("the stream shows it", LIMIT, async || inbox.change().await.priority() == Priority::High).await;
    assert_eq!(office.transitions(id).await.len(), 2);
    let refused = office.set_priority(&colleague, id, Priority::Low).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_HOLDER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_expected_wait_is_the_place_at_the_pace_of_the_last_hour() {
    let clock = clock();
    let office = Office::open_at(&clock, 0).await;
    let (agent, owner) = (office.agent().await, &office.owner);
    let first = office.arrive().await;
    assert_eq!(office.position(owner, first).await.unwrap().expected_wait, None, "nothing was given out yet");
    for _ in 0..6 {
        let id = office.arrive().await;
        office.take(&agent, id).await.unwrap();
        clock.advance(MINUTE);
    }
    let second = office.arrive().await;
    let seconds = async |id| office.position(owner, id).await.unwrap().expected_wait.map(|wait| wait.seconds);
    assert_eq!((seconds(first).await, seconds(second).await), (Some(600), Some(1200)), "six an hour");
    clock.advance(Duration::from_hours(2));
    assert_eq!(seconds(first).await, None, "that pace is long ago");
}

async fn next_alert(inbox: &mut Inbox) -> (String, i32) {
    loop {
        if let Shown::WaitsLong(alert) = inbox.next().await {
            return (alert.conversation.unwrap().id, alert.wait_alert_seconds);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_makes_one_alert_to_those_who_direct_and_a_new_wait_another() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    office.set_team(office.team, 2, |team| (team.assignment_limit, team.wait_alert_seconds) = (1, 300));
    office.until("select count(*) from teams where wait_alert_seconds = 300", 1).await;
    let agent = office.agent().await;
    let (mut owners, mut agents) = (office.watch(&office.owner).await, office.watch(&agent).await);
    let held = office.arrive().await;
    office.held_by(&agent, held).await;
    let waiting = office.arrive().await;
    clock.advance(5 * MINUTE);
    assert_eq!(next_alert(&mut owners).await, (waiting.to_string(), 300));
    // Another queue is the same wait; being held ends it.
    office.close(&agent, held).await.unwrap();
    office.held_by(&agent, waiting).await;
    office.hand_over(&agent, waiting, (Some(office.team), None)).await.unwrap();
    office.held_by(&agent, waiting).await;
    let later = office.arrive().await;
    clock.advance(6 * MINUTE);
    assert_eq!(next_alert(&mut owners).await.0, later.to_string());
    let alerts = "select count(*) from feed_events where kind like '%.ConversationWaitsLong'";
    assert_eq!(office.count(alerts).await, 2);
    // An agent hears of his conversations, not of alerts.
    office.close(&agent, waiting).await.unwrap();
    eventually("the agent is told of it", LIMIT, async || match agents.next().await {
        Shown::WaitsLong(alert) => panic!("{alert:?}"),
        Shown::Changed(changed) => {
            let changed = changed.conversation.unwrap();
            changed.id == later.to_string() && changed.state() == ConversationState::Open
        }
        _ => false,
    })
    .await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_waited_and_what_is_given_out_again_does_not_make_the_expected_wait_shorter() {
    let clock = clock();
    let office = Office::open_at(&clock, 0).await;
    office.set_team(office.team, 2, |team| team.sticky_owner = true);
    office.until("select count(*) from teams where sticky_owner", 1).await;
    let (agent, mail) = (office.agent().await, office.mail());
    let first = office.deliver(mail.clone()).await;
    for id in [first, office.arrive().await, office.arrive().await] {
        office.take(&agent, id).await.unwrap();
    }
    office.hand_over(&agent, first, (Some(office.team), None)).await.unwrap();
    office.take(&agent, first).await.unwrap();
    let inbox = office.watch(&agent).await;
    for _ in 0..3 {
        let again = IngestMessageRequest { from_email: mail.from_email.clone(), ..office.mail() };
        let id = office.deliver(again).await;
        assert_eq!(office.last_transition(id).await.cause(), TransitionCause::StickyOwner);
    }
    let request = SetAvailabilityRequest { request_id: "watching".into(), state: AvailabilityState::Watching.into() };
    office.inbox().set_availability(office.world.request(&agent, request)).await.unwrap();
    let waiting = office.arrive().await;
    let wait = office.position(&office.owner, waiting).await.unwrap().expected_wait;
    assert_eq!(wait.map(|wait| wait.seconds), Some(1200), "three an hour");
    drop(inbox);
}
