//! Many conversations that move together.

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{ConversationState, StartReassignmentRequest, TransitionCause},
    identity::v1::UserState,
};
use diwan_testkit::Person;
use tonic::Code;
use uuid::Uuid;

use crate::support::Office;

/// So many conversations of the team that a person took.
async fn taken(office: &Office, person: &Person, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let id = office.arrive().await;
        office.take(person, id).await.unwrap();
        ids.push(id);
    }
    ids
}

fn of_holder(holder: &Person) -> StartReassignmentRequest {
    StartReassignmentRequest { holder_id: holder.user.to_string(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_holds_goes_to_a_colleague_above_his_limit_and_progress_says_so() {
    let office = Office::open(10).await;
    let (from, to) = (office.agent().await, office.agent().await);
    let ids = taken(&office, &from, 120).await;
    let waiting = office.arrive().await;
    let request = StartReassignmentRequest { to_user_id: to.user.to_string(), ..of_holder(&from) };
    let started = office.reassign(request).await.unwrap();
    let done = office.reassigned(&started.id).await;
    assert_eq!((done.moved, done.over_limit, done.skipped), (120, 110, 0));
    assert!(done.finished_at.is_some() && done.actor_id == office.owner.user.to_string());
    let record = office.last_transition(ids[7]).await;
    assert_eq!((record.cause(), record.to_holder_id), (TransitionCause::Reassigned, to.user.to_string()));
    assert_eq!(office.get(&office.owner, waiting).await.unwrap().state(), ConversationState::Queued);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_s_conversations_go_to_another_team_with_those_that_wait_if_asked_for() {
    let office = Office::open(0).await;
    let (other, agent) = (office.second_team(0).await, office.agent().await);
    let receiver = office.agent_of(other).await;
    taken(&office, &agent, 3).await;
    let waiting = office.arrive().await;
    let request = StartReassignmentRequest {
        team_id: office.team.to_string(),
        to_team_id: other.to_string(),
        ..Default::default()
    };
    let started = office.reassign(request.clone()).await.unwrap();
    assert_eq!(office.reassigned(&started.id).await.moved, 3);
    assert_eq!(office.get(&office.owner, waiting).await.unwrap().team_id, office.team.to_string());
    let started = office.reassign(StartReassignmentRequest { queued: true, ..request }).await.unwrap();
    assert_eq!(office.reassigned(&started.id).await.moved, 1);
    let _inbox = office.watch(&receiver).await;
    office.until("select count(*) from conversations where state = 'OPEN'", 4).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_gets_nothing_and_each_that_stays_is_counted() {
    let office = Office::open(0).await;
    let (other, agent) = (office.second_team(0).await, office.agent().await);
    let outsider = office.agent_of(other).await;
    taken(&office, &agent, 4).await;
    let there = office.deliver(office.mail_to(other)).await;
    office.assign(&office.owner, there, &outsider).await.unwrap();
    let to_outsider = StartReassignmentRequest { to_user_id: outsider.user.to_string(), ..of_holder(&agent) };
    let started = office.reassign(to_outsider.clone()).await.unwrap();
    let done = office.reassigned(&started.id).await;
    assert_eq!((done.moved, done.skipped), (0, 4));
    // Back to the queue of its own team.
    let started = office.reassign(of_holder(&agent)).await.unwrap();
    assert_eq!(office.reassigned(&started.id).await.moved, 4);
    office.until("select count(*) from conversations where state = 'QUEUED'", 4).await;
    office.set_user(&outsider, 2, UserState::Deactivated);
    office.until("select count(*) from users where not active", 1).await;
    let refused = office.reassign(to_outsider).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("NOT_ASSIGNABLE"));
    let stranger = office.owner.colleague(Role::User);
    let refused = office.reassign(of_holder(&stranger)).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::NotFound, Some("USER_NOT_FOUND")));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_interrupted_goes_on_where_it_was_and_moves_nothing_twice() {
    let office = Office::open(0).await;
    let (from, to) = (office.agent().await, office.agent().await);
    let ids = taken(&office, &from, 5).await;
    // As a process leaves it that dies after a chunk of two: they are moved, and that is noted.
    for id in &ids[..2] {
        office.assign(&office.owner, *id, &to).await.unwrap();
    }
    sqlx::query(
        "insert into reassignments (account_id, id, actor_id, holder_id, queued, to_user_id, done_up_to, last_id, moved, created_at)
         values ($1, $2, $3, $4, false, $5, $6, $7, 2, now())",
    )
    .bind(office.owner.account)
    .bind(ids[0])
    .bind(office.owner.user)
    .bind(from.user)
    .bind(to.user)
    .bind(ids[1])
    .bind(ids[3])
    .execute(office.pool())
    .await
    .unwrap();
    let done = office.reassigned(&ids[0].to_string()).await;
    assert_eq!(done.moved, 4, "two before, two after");
    for id in &ids[..4] {
        assert_eq!(office.transitions(*id).await.len(), 3, "moved once");
    }
    office.held_by(&from, ids[4]).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_five_under_way_and_a_sixth_is_refused() {
    let office = Office::open(0).await;
    let (from, to) = (office.agent().await, office.agent().await);
    let ids = taken(&office, &from, 1).await;
    let request = StartReassignmentRequest { to_user_id: to.user.to_string(), ..of_holder(&from) };
    let mut blocking = office.pool().begin().await.unwrap();
    sqlx::query("select from conversations where id = $1 for update")
        .bind(ids[0])
        .execute(&mut *blocking)
        .await
        .unwrap();
    let mut started = Vec::new();
    for _ in 0..5 {
        started.push(office.reassign(request.clone()).await.unwrap().id);
    }
    let refused = office.reassign(request.clone()).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("TOO_MANY_REASSIGNMENTS"));
    blocking.rollback().await.unwrap();
    for id in started {
        office.reassigned(&id).await;
    }
    office.reassign(request).await.unwrap();
    office.held_by(&to, ids[0]).await;
    office.audit().await;
}
