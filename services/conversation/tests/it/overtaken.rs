//! What changes between a look and the act that follows from it.

use diwan_fault::reason_of;
use diwan_proto::{access::v1::Role, conversation::v1::TakeConversationRequest};
use diwan_testkit::{Person, eventually};
use sqlx::PgConnection;
use tonic::Code;

use crate::support::{LIMIT, Office};

/// Waits until somebody waits for a lock that `open` has.
async fn waits_for(office: &Office, open: &mut PgConnection) {
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(open).await.unwrap();
    eventually("a transaction waits", LIMIT, async || {
        sqlx::query_scalar::<_, bool>(
            "select exists (select from pg_stat_activity where $1 = any(pg_blocking_pids(pid)))",
        )
        .bind(pid)
        .fetch_one(office.pool())
        .await
        .unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_team_while_he_takes_gets_nothing() {
    let office = Office::open(0).await;
    let leaver = office.agent().await;
    let id = office.arrive().await;
    let mut leaving = office.pool().begin().await.unwrap();
    sqlx::query("update slots set member = false, membership_version = 2 where user_id = $1")
        .bind(leaver.user)
        .execute(&mut *leaving)
        .await
        .unwrap();
    let taking = async { office.take(&leaver, id).await };
    let left = async {
        waits_for(&office, &mut leaving).await;
        leaving.commit().await.unwrap();
    };
    let (taken, ()) = tokio::join!(taking, left);
    assert_eq!(taken.unwrap_err().code(), Code::NotFound);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_of_another_person_does_not_show_what_he_was_answered() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    let take = async |person: &Person| {
        let request = TakeConversationRequest { request_id: "1".into(), conversation_id: id.to_string() };
        office.conversations().take_conversation(office.world.request(person, request)).await
    };
    take(&office.owner).await.unwrap();
    let stranger = office.owner.colleague(Role::User);
    let refused = take(&stranger).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("REQUEST_ID_REUSED"));
    take(&office.owner).await.unwrap();
}
