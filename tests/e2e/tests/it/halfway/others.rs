//! A service is killed that has its part in what identity has decided.

use super::*;

/// While the seat of the agent is freed.
const RELEASES: [Moment; 3] = [
    at("billing", "billing", "before it frees the seat", SEAT, "delete from seats%"),
    at("billing", "billing", "with the seat freed and not told", TOLD, "insert into feed_events%"),
    at("billing", "billing", "with the seat free for good, and nobody answered", SEAT_COMMITS, "commit%"),
];

/// While a seat is taken for him.
const TAKES: [Moment; 3] = [
    at("billing", "billing", "before it takes a seat", SEATS, "select seats from subscriptions%"),
    at("billing", "billing", "with the seat taken and not told", TOLD, "insert into feed_events%"),
    at("billing", "billing", "with the seat taken for good, and nobody answered", SEAT_COMMITS, "commit%"),
];

/// While team hears of what he is now.
const HEARS: [Moment; 2] = [
    at("team", "team", "before it notes his state", "lock table user_states in share mode", "insert into user_states%"),
    at("team", "team", "with his state noted for good", STATE_COMMITS, "commit%"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_frees_the_seat_though_billing_is_killed_at_any_step_of_it() {
    let mut scene = Scene::with_agent(Topology::Separate).await;
    for moment in &RELEASES {
        let step = moment.step;
        let _inbox = scene.at_work().await;
        let id = request_id();
        let answer = scene.killed_at(moment, |scene: &Scene| scene.deactivate(&id)).await;
        assert_eq!(answer.unwrap(), UserState::Deactivated, "{step}: the change has happened");
        scene.is_deactivated(step).await;
        assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{step}");
        scene.is_deactivated(step).await;
        scene.is_back(step).await;
    }
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reactivation_that_got_no_answer_from_billing_keeps_no_seat_and_succeeds_when_it_is_repeated() {
    let mut scene = Scene::with_agent(Topology::Separate).await;
    for moment in &TAKES {
        let step = moment.step;
        scene.is_gone(step).await;
        let id = request_id();
        let answer = scene.killed_at(moment, |scene: &Scene| scene.reactivate(&id)).await;
        assert!(answer.is_err(), "{step}: without a seat nobody is back");
        scene.is_deactivated(step).await;
        assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
        scene.is_active(step).await;
    }
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn team_knows_who_is_deactivated_though_it_is_killed_at_any_step_of_hearing_it() {
    let mut scene = Scene::with_agent(Topology::Separate).await;
    for moment in &HEARS {
        let step = moment.step;
        let _inbox = scene.at_work().await;
        let id = request_id();
        let answer = scene.killed_at(moment, |scene: &Scene| scene.deactivate(&id)).await;
        assert_eq!(answer.unwrap(), UserState::Deactivated, "{step}");
        scene.is_deactivated(step).await;
        let id = request_id();
        let answer = scene.killed_at(moment, |scene: &Scene| scene.reactivate(&id)).await;
        assert_eq!(answer.unwrap(), UserState::Active, "{step}");
        scene.is_active(step).await;
    }
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_what_a_deactivated_agent_held_though_conversation_is_killed_meanwhile() {
    let mut scene = Scene::with_agent(Topology::Separate).await;
    // Without a transaction number of its own, which would hold the feed back.
    let moment = at(
        "conversation",
        "conversation",
        "while it takes his conversations away",
        "lock table conversations in share mode",
        "%state = 'QUEUED', holder_id = null%",
    );
    let _inbox = scene.at_work().await;
    let id = request_id();
    let answer = scene.killed_at(&moment, |scene: &Scene| scene.deactivate(&id)).await;
    assert_eq!(answer.unwrap(), UserState::Deactivated);
    scene.is_deactivated(moment.step).await;
    assert_eq!(
        scene.count("conversation", "conversations where state = 'QUEUED' and $1::uuid is not null").await,
        scene.count("conversation", "conversations where $1::uuid is not null").await,
        "each is in the queue"
    );
    scene.fresh.installation.stop().await.unwrap();
}
