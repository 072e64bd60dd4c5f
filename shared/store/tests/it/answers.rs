//! Repeated requests.

use std::collections::HashSet;

use diwan_fault::Fault;
use diwan_proto::team::v1::{CreateTeamRequest, CreateTeamResponse, Team};
use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_store::{Database, Error, answers::Request};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::setup;

fn create(name: &str) -> CreateTeamRequest {
    CreateTeamRequest { request_id: "r1".into(), name: name.into(), ..Default::default() }
}

async fn insert_effect(tx: &mut PgConnection, note: &str) -> Result<i64, Error> {
    let id = sqlx::query_scalar("insert into effects (note) values ($1) returning id").bind(note).fetch_one(tx).await?;
    Ok(id)
}

/// Answers with the id of the effect, so that a second effect would show in the answer.
async fn create_team(database: &Database, account: Uuid, message: &CreateTeamRequest) -> Result<String, Fault> {
    let request = Request::new(account, &message.request_id, "CreateTeam", message);
    let answer: CreateTeamResponse = database
        .answer_once(&request, SystemClock.now(), async |tx: &mut PgConnection| {
            let id = insert_effect(tx, &message.name).await?.to_string();
            Ok::<_, Fault>(CreateTeamResponse { team: Some(Team { id, ..Default::default() }) })
        })
        .await?;
    Ok(answer.team.unwrap().id)
}

struct Api(Database);

// The compiler must find the future of a closure-taking transaction to be Send where tonic asks for it.
#[async_trait::async_trait]
trait Service: Send + Sync + 'static {
    async fn create_team(&self, account: Uuid, message: CreateTeamRequest) -> Result<String, tonic::Status>;
}

#[async_trait::async_trait]
impl Service for Api {
    async fn create_team(&self, account: Uuid, message: CreateTeamRequest) -> Result<String, tonic::Status> {
        let request = Request::new(account, &message.request_id, "CreateTeam", &message);
        let answer = self
            .0
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
    let first = create_team(&setup.database, account, &create("Sales")).await.unwrap();
    let second = Api(setup.database.clone()).create_team(account, create("Sales")).await.unwrap();
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
            tokio::spawn(async move { create_team(&database, account, &create("Sales")).await.unwrap() })
        })
        .collect();
    let mut answers = HashSet::new();
    for task in tasks {
        answers.insert(task.await.unwrap());
    }
    assert_eq!((answers.len(), setup.effects().await), (1, 1));
}
