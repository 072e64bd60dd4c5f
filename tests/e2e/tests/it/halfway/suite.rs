//! All services are one process, and it is killed, its PostgreSQL with it.

use super::*;

const NOT_GONE: Moment = at(WHOLE, "identity", "before he is deactivated", JOBS, "insert into jobs%");
const GONE: [Moment; 2] = [
    at(WHOLE, "billing", "before his seat is free", SEAT, "delete from seats%"),
    at(WHOLE, "conversation", "before he is offline", "lock table presence in share mode", "%presence%"),
];
const NOT_BACK: [Moment; 2] = [
    at(WHOLE, "billing", "before a seat is taken", SEATS, "select seats from subscriptions%"),
    at(WHOLE, "identity", "with a seat and no use for it", "select from users where id = $agent for update", "%users%"),
];
const ACCEPTED: [Moment; 2] = [
    at(WHOLE, "billing", "before the seat is his for good", SEAT, "insert into seats%"),
    at(WHOLE, "team", "before he is in his team", MEMBERS, "insert into members%"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_is_whole_or_has_not_happened_though_everything_is_killed_at_once() {
    let mut scene = Scene::with_agent(Topology::Suite).await;
    let _inbox = scene.present().await;
    let id = request_id();
    assert!(scene.killed_at(&NOT_GONE, |scene: &Scene| scene.deactivate(&id)).await.is_err());
    scene.is_active(NOT_GONE.step).await;
    assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated);
    scene.is_deactivated(NOT_GONE.step).await;
    for moment in &GONE {
        scene.is_back(moment.step).await;
        let _inbox = scene.present().await;
        let id = request_id();
        // In one of them the answer may be out already.
        let _ = scene.killed_at(moment, |scene: &Scene| scene.deactivate(&id)).await;
        scene.is_deactivated(moment.step).await;
        assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{}", moment.step);
    }
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reactivation_and_an_acceptance_are_whole_or_have_not_happened_though_everything_is_killed_at_once() {
    let mut scene = Scene::with_agent(Topology::Suite).await;
    for moment in &NOT_BACK {
        scene.is_gone(moment.step).await;
        let id = request_id();
        assert!(scene.killed_at(moment, |scene: &Scene| scene.reactivate(&id)).await.is_err(), "{}", moment.step);
        scene.is_deactivated(moment.step).await;
        assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{}", moment.step);
        scene.is_active(moment.step).await;
    }
    for moment in &ACCEPTED {
        scene.invite().await;
        assert!(scene.killed_at(moment, Scene::accept).await.is_err(), "{}", moment.step);
        scene.is_active(moment.step).await;
        let _inbox = scene.present().await;
    }
    scene.fresh.installation.stop().await.unwrap();
}
