//! Identity is killed.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_killed_at_any_step_is_whole_in_the_end() {
    let mut scene = Scene::with_agent(Topology::Separate).await;

    let step = "identity is killed before its commit: nothing has happened";
    let inbox = scene.at_work().await;
    let (id, mut gate) = (request_id(), scene.hold("identity", JOBS).await);
    let call = scene.deactivate(&id);
    scene.stands_at("identity", &mut gate, "insert into jobs%").await;
    scene.crash("identity").await;
    gate.rollback().await.unwrap();
    assert!(call.await.unwrap().is_err(), "{step}");
    scene.again("identity").await;
    scene.is_active(step).await;
    assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{step}");
    scene.is_deactivated(step).await;
    drop(inbox);
    scene.is_back(step).await;

    let step = "identity is killed after its commit, before the seat is free";
    let _inbox = scene.at_work().await;
    let id = request_id();
    let mut gate = scene.hold("billing", SEAT).await;
    let call = scene.deactivate(&id);
    scene.stands_at("billing", &mut gate, "%").await;
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    gate.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{step}");
    scene.is_back(step).await;

    let step = "identity is killed when the seat is free and the job is not put away";
    let _inbox = scene.at_work().await;
    let mut gate = scene.hold("billing", SEAT).await;
    let call = scene.deactivate(&request_id());
    scene.stands_at("billing", &mut gate, "%").await;
    let mut job = scene.hold("identity", "select from jobs where kind = 'SettleSeat' for update").await;
    gate.rollback().await.unwrap();
    scene.stands_at("identity", &mut job, "%").await;
    assert_eq!(scene.count("billing", "seats where user_id = $1").await, 0, "{step}");
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    job.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reactivation_killed_at_any_step_leaves_a_seat_only_to_whom_it_gave_access() {
    let mut scene = Scene::with_agent(Topology::Separate).await;

    let step = "identity is killed before the seat is taken";
    scene.is_gone(step).await;
    let (id, mut gate) = (request_id(), scene.hold("billing", "lock table seats in share mode").await);
    let call = scene.reactivate(&id);
    scene.stands_at("billing", &mut gate, "%").await;
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    gate.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
    scene.is_active(step).await;

    let step = "identity is killed when the seat is taken and he is not back yet";
    scene.is_gone(step).await;
    let id = request_id();
    let mut gate = scene.hold("identity", "select from users where id = $agent for update").await;
    let call = scene.reactivate(&id);
    scene.stands_at("identity", &mut gate, "%").await;
    assert_eq!(scene.count("billing", "seats where user_id = $1").await, 1, "{step}");
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    gate.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
    scene.is_active(step).await;

    let step = "identity is killed when he is back and the job is not put away";
    scene.is_gone(step).await;
    let id = request_id();
    let mut gate = scene.hold("identity", "select from users where id = $agent for update").await;
    let call = scene.reactivate(&id);
    scene.stands_at("identity", &mut gate, "%").await;
    let mut job = scene.hold("identity", "select from jobs where kind = 'SettleSeat' for update").await;
    gate.rollback().await.unwrap();
    scene.stands_at("identity", &mut job, "%").await;
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    job.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_active(step).await;
    assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
    scene.fresh.installation.stop().await.unwrap();
}
