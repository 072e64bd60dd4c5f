//! Repeated requests.

use std::{collections::HashSet, time::Duration};

use diwan_fault::Fault;
use diwan_proto::team::v1::{CreateTeamRequest, CreateTeamResponse, Team};
use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_store::{
    Database,
    answers::{self, Request},
};
use sqlx::PgConnection;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{insert_effect, setup};

fn create(name: &str) -> CreateTeamRequest {
    CreateTeamRequest { request_id: "r1".into(), name: name.into(), ..Default::default() }
}

#[tonic::async_trait]
trait TeamService {
    async fn create_team(&self, account: Uuid, message: CreateTeamRequest) -> Result<String, Status>;
}

/// A handler as tonic asks for it, which also shows that its future is Send.
#[tonic::async_trait]
impl TeamService for Database {
    /// Answers with the id of the effect, so that a second effect would show in the answer.
    async fn create_team(&self, account: Uuid, message: CreateTeamRequest) -> Result<String, Status> {
        let request = Request::new(account, &message.request_id, "CreateTeam", &message);
        let answer = self
            .answer_once(&request, SystemClock.now(), async |tx: &mut PgConnection| {
                let id = insert_effect(tx, &message.name).await?.to_string();
                Ok::<_, Fault>(CreateTeamResponse { team: Some(Team { id, ..Default::default() }) })
            })
            .await?;
        Ok(answer.team.unwrap().id)
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_no_second_effect() {
    let setup = setup().await;
    let account = ids::new_id();
    let first = setup.database.create_team(account, create("Sales")).await.unwrap();
    let second = setup.database.create_team(account, create("Sales")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(setup.effects().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_from_32_tasks_has_one_effect_and_32_equal_answers() {
    let setup = setup().await;
    let account = ids::new_id();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let database = setup.database.clone();
            tokio::spawn(async move { database.create_team(account, create("Sales")).await.unwrap() })
        })
        .collect();
    let mut answers = HashSet::new();
    for task in tasks {
        answers.insert(task.await.unwrap());
    }
    assert_eq!((answers.len(), setup.effects().await), (1, 1));
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    let setup = setup().await;
    let account = ids::new_id();
    setup.database.create_team(account, create("Sales")).await.unwrap();
    let status = setup.database.create_team(account, create("Support")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(diwan_fault::reason_of(&status).as_deref(), Some("REQUEST_ID_REUSED"));
    assert_eq!(setup.effects().await, 1);
}

#[tokio::test]
async fn the_same_message_to_another_method_is_another_request() {
    let setup = setup().await;
    let account = ids::new_id();
    setup.database.create_team(account, create("Sales")).await.unwrap();
    let other = Request::new(account, "r1", "UpdateTeam", &create("Sales"));
    let found = answers::find::<CreateTeamResponse>(&setup.test.pool, &other).await;
    assert!(matches!(found, Err(diwan_store::Error::RequestIdReused)), "{found:?}");
}

#[tokio::test]
async fn accounts_do_not_share_request_ids() {
    let setup = setup().await;
    setup.database.create_team(ids::new_id(), create("Sales")).await.unwrap();
    setup.database.create_team(ids::new_id(), create("Support")).await.unwrap();
    assert_eq!(setup.effects().await, 2);
}

#[tokio::test]
async fn a_request_that_failed_runs_again() {
    let setup = setup().await;
    let account = ids::new_id();
    let mut blocker = setup.test.pool.acquire().await.unwrap();
    insert_effect(&mut blocker, "Sales").await.unwrap();
    let taken = setup.database.create_team(account, create("Sales")).await.unwrap_err();
    assert_eq!(taken.code(), Code::Internal);
    sqlx::query("delete from effects").execute(&mut *blocker).await.unwrap();
    setup.database.create_team(account, create("Sales")).await.unwrap();
    assert_eq!(setup.effects().await, 1);
}

#[tokio::test]
async fn a_duplicate_that_waited_for_one_that_failed_runs_itself() {
    let setup = setup().await;
    let account = ids::new_id();
    let message = create("Sales");
    let request = Request::new(account, "r1", "CreateTeam", &message);
    let (working, worked) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let first = setup.database.answer_once(&request, SystemClock.now(), async |_: &mut PgConnection| {
        working.notify_one();
        worked.notified().await;
        Err::<CreateTeamResponse, _>(Fault::internal("it failed"))
    });
    let second = async {
        working.notified().await;
        let database = setup.database.clone();
        let second = tokio::spawn(async move { database.create_team(account, create("Sales")).await });
        setup.someone_waits_for_a_lock().await;
        worked.notify_one();
        second.await.unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err());
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(setup.effects().await, 1);
}

#[tokio::test]
async fn a_given_answer_is_found_without_asking_again() {
    let setup = setup().await;
    let account = ids::new_id();
    let message = create("Sales");
    let request = Request::new(account, "r1", "CreateTeam", &message);
    let find = async || answers::find::<CreateTeamResponse>(&setup.test.pool, &request).await.unwrap();
    assert_eq!(find().await, None);
    let id = setup.database.create_team(account, message.clone()).await.unwrap();
    assert_eq!(find().await.unwrap().team.unwrap().id, id);
}

#[tokio::test]
async fn old_answers_are_purged_and_young_ones_kept() {
    let setup = setup().await;
    let account = ids::new_id();
    setup.database.create_team(account, create("Sales")).await.unwrap();
    let day = Duration::from_hours(24);
    assert_eq!(answers::purge(&setup.test.pool, SystemClock.now(), day).await.unwrap(), 0);
    let tomorrow = SystemClock.now() + day + Duration::from_secs(1);
    assert_eq!(answers::purge(&setup.test.pool, tomorrow, day).await.unwrap(), 1);
}
