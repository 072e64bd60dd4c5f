//! An invitation is accepted, and a service is killed that has its part in it.

use super::*;

const BILLING: [Moment; 3] = [
    at("billing", "billing", "billing is killed before the seat is his for good", SEAT, "insert into seats%"),
    at("billing", "billing", "billing is killed with the seat his and not told", TOLD, "insert into feed_events%"),
    at("billing", "billing", "billing is killed with the seat his, and nobody answered", SEAT_COMMITS, "commit%"),
];

const TEAM: [Moment; 3] = [
    at("team", "team", "team is killed before it knows him", MEMBERS, "insert into members%"),
    at("team", "team", "team is killed with him in his team and not told", TOLD, "insert into feed_events%"),
    at("team", "team", "team is killed with him in his team, and nobody answered", MEMBERSHIP_COMMITS, "commit%"),
];

const IDENTITY: [Moment; 3] = [
    at("identity", "identity", "identity is killed before its commit", JOBS, "insert into jobs%"),
    at("identity", "team", "identity is killed before he is in his team", MEMBERS, "insert into members%"),
    at("identity", "billing", "identity is killed before the seat is his for good", SEAT, "insert into seats%"),
];

#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_has_his_seat_though_billing_is_killed_at_any_step_of_it() {
    accepted(&BILLING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_is_in_his_teams_though_team_is_killed_at_any_step_of_it() {
    accepted(&TEAM).await;
}

async fn accepted(moments: &[Moment]) {
    let mut scene = Scene::new(Topology::Separate).await;
    for moment in moments {
        let answer = scene.killed_at(moment, Scene::accept).await;
        assert_eq!(answer.unwrap(), UserState::Active, "{}: he is in", moment.step);
        scene.is_active(moment.step).await;
        let _inbox = scene.at_work().await;
        scene.is_gone(moment.step).await;
        scene.invite().await;
    }
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_whose_answer_was_lost_has_happened_as_a_whole_or_not_at_all() {
    let mut scene = Scene::new(Topology::Separate).await;
    for moment in &IDENTITY {
        let answer = scene.killed_at(moment, Scene::accept).await;
        assert!(answer.is_err(), "{}", moment.step);
        if moment.database == "identity" {
            assert_eq!(scene.count("identity", "users where id = $1 and state = 'USER_STATE_INVITED'").await, 1);
            assert_eq!(scene.accept().await.unwrap().unwrap(), UserState::Active, "his link is still good");
        }
        scene.is_active(moment.step).await;
        let _inbox = scene.at_work().await;
        scene.is_gone(moment.step).await;
        scene.invite().await;
    }
    scene.fresh.installation.stop().await.unwrap();
}
