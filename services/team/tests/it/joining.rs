//! Becoming a member when one becomes active.

use std::time::Duration;

use diwan_proto::team::v1::Membership;
use diwan_runtime::ids;
use diwan_testkit::{Person, eventually, reason};
use futures::future::join_all;
use tonic::Code;
use uuid::Uuid;

use crate::support::Teams;

fn teams_of(memberships: &[Membership]) -> Vec<&str> {
    memberships.iter().map(|membership| membership.team_id.as_str()).collect()
}

#[tokio::test]
async fn a_team_that_is_not_active_here_is_replaced_by_the_fallback_team() {
    let (teams, general) = Teams::with_fallback().await;
    let (sales, gone) = (teams.create_named("Sales").await, teams.create_named("Gone").await);
    teams.archive(&gone.id).await;
    let foreign = teams.ensure_fallback(0, &Person::owner(), "en").await.unwrap();
    let unknown = ids::new_id().to_string();
    let joined = teams.join(0, ids::new_id(), &[&sales.id, &gone.id, &foreign.id, &unknown]).await.unwrap();
    let mut expected = [general.id.as_str(), sales.id.as_str()];
    expected.sort_unstable();
    assert_eq!(teams_of(&joined), expected);
    let joined = teams.join(0, ids::new_id(), &[&sales.id, &sales.id]).await.unwrap();
    assert_eq!(teams_of(&joined), [sales.id.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_many_times_at_once_makes_one_membership_a_team() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let before = teams.events().await.len();
    let user = ids::new_id();
    let orders = [[general.id.as_str(), sales.id.as_str()], [sales.id.as_str(), general.id.as_str()]];
    let joined = join_all((0..16).map(|place| teams.join(place, user, &orders[place / 2 % 2]))).await;
    let first = joined[0].as_ref().unwrap();
    for memberships in &joined {
        assert_eq!(memberships.as_ref().unwrap(), first);
    }
    assert_eq!(teams.members(&sales.id).await, [user]);
    assert_eq!(teams.events().await.len(), before + 2);
}

#[tokio::test]
async fn a_late_repetition_brings_nobody_back_into_a_team_that_he_was_taken_out_of() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id]).await.unwrap();
    let added = teams.add(&sales.id, user).await.unwrap();
    teams.remove(0, &general.id, user).await.unwrap();
    let events = teams.events().await.len();
    assert_eq!(teams.join(1, user, &[&general.id]).await.unwrap(), [added]);
    assert!(!teams.members(&general.id).await.contains(&user));
    assert!(teams.members(&sales.id).await.contains(&user));
    assert_eq!(teams.events().await.len(), events, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_while_the_fallback_team_is_archived_comes_into_the_next_one() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    // As archiving does, in the middle of it.
    let mut archiving = teams.database.pool.begin().await.unwrap();
    for statement in [
        "select from teams where id = any($1) order by id for update",
        "update teams set archived_at = now(), fallback = false, receiving_id = $1[2] where id = $1[1]",
        "update teams set fallback = true where id = $1[2]",
    ] {
        let of = [&general.id, &sales.id].map(|id| id.parse::<Uuid>().unwrap());
        sqlx::query(statement).bind(of).execute(&mut *archiving).await.unwrap();
    }
    let unknown = ids::new_id().to_string();
    let joining = async { teams.join(0, user, &[&unknown]).await.unwrap() };
    let archived = async {
        eventually("somebody waits for it", Duration::from_secs(30), async || {
            let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                            and datname = current_database())";
            sqlx::query_scalar::<_, bool>(waits).fetch_one(&teams.database.pool).await.unwrap()
        })
        .await;
        archiving.commit().await.unwrap();
    };
    let (joined, ()) = tokio::join!(joining, archived);
    assert_eq!(teams_of(&joined), [sales.id.as_str()]);
    assert_eq!(teams.members(&sales.id).await, [user]);
}

#[tokio::test]
async fn an_account_that_was_never_set_up_has_nothing_to_join() {
    let teams = Teams::empty().await;
    let refusal = teams.join(0, ids::new_id(), &[&ids::new_id().to_string()]).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "TEAM_NOT_FOUND"));
}
