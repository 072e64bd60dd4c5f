//! Locks that make one call wait for the other: each test stops the first one in the middle, and the second one decides on what it leaves.
//! Without the lock it would go on with what was there before. `make test-mutation` takes each of them away.

use diwan_proto::{identity::v1::UserState, team::v1::Team};
use diwan_runtime::ids;
use diwan_testkit::reason;

use crate::{
    archive::archive,
    departments::{create, move_below},
    support::Teams,
};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_a_team_at_once_none_is_lost() {
    let (teams, general) = Teams::with_fallback().await;
    let renaming = teams
        .in_the_middle_of(format!(
            "update teams set name = 'Reception', name_key = 'reception', version = version + 1 where id = '{}'",
            general.id
        ))
        .await;
    let limited = Team { assignment_limit: 7, ..general };
    let changed = teams.overtake(renaming, teams.update(0, limited, &["assignment_limit"])).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.assignment_limit, changed.version), ("Reception", 7, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_team_that_is_being_archived_joins_the_one_that_receives() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let archiving = teams
        .in_the_middle_of(format!(
            "select from teams where id in ('{sales}', '{general}') order by id for update;
             update teams set archived_at = now(), receiving_id = '{general}', version = version + 1 where id = '{sales}'",
            sales = sales.id,
            general = general.id
        ))
        .await;
    let joined = teams.overtake(archiving, teams.join(0, ids::new_id(), &[&sales.id])).await.unwrap();
    assert_eq!(joined.iter().map(|joined| &joined.team_id).collect::<Vec<_>>(), [&general.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_joining_a_team_when_it_is_archived_joins_the_one_that_receives() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let (account, user) = (teams.owner.account, ids::new_id());
    let joining = teams
        .in_the_middle_of(format!(
            "insert into members (account_id, user_id, created_at) values ('{account}', '{user}', now());
             select from teams where id = '{sales}' for key share;
             insert into memberships (account_id, team_id, user_id, id, joined_at, version)
                 values ('{account}', '{sales}', '{user}', '{user}', now(), 1)",
            sales = sales.id
        ))
        .await;
    let archived = teams.overtake(joining, archive(&teams, 0, &sales.id, &general.id)).await.unwrap();
    assert_eq!(archived.joined, 1);
    assert!(teams.members(&general.id).await.contains(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_leaving_his_other_team_when_one_is_archived_joins_the_one_that_receives() {
    let (teams, general) = Teams::with_fallback().await;
    let [sales, support] = [teams.create_named("Sales").await, teams.create_named("Support").await];
    let user = ids::new_id();
    teams.join(0, user, &[&sales.id, &support.id]).await.unwrap();
    let leaving = teams
        .in_the_middle_of(format!(
            "select from members where user_id = '{user}' for no key update;
             update memberships set left_at = now(), version = version + 1 where team_id = '{}' and user_id = '{user}'",
            support.id
        ))
        .await;
    let archived = teams.overtake(leaving, archive(&teams, 0, &sales.id, &general.id)).await.unwrap();
    assert_eq!(archived.joined, 1);
    assert!(teams.members(&general.id).await.contains(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leaves_the_only_team_that_he_has_beside_one_that_is_being_archived() {
    let (teams, general) = Teams::with_fallback().await;
    let [sales, support] = [teams.create_named("Sales").await, teams.create_named("Support").await];
    let user = ids::new_id();
    teams.join(0, user, &[&sales.id, &support.id]).await.unwrap();
    let archiving = teams
        .in_the_middle_of(format!(
            "select from teams where id in ('{sales}', '{general}') order by id for update;
             update teams set archived_at = now(), receiving_id = '{general}', version = version + 1 where id = '{sales}';
             select from members where user_id = '{user}' for no key update",
            sales = sales.id,
            general = general.id
        ))
        .await;
    let removed = teams.overtake(archiving, teams.remove(0, &support.id, user)).await;
    assert_eq!(reason(&removed.unwrap_err()), "LAST_MEMBERSHIP");
    assert_eq!(teams.members(&support.id).await, [user]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_deactivated_joins_no_further_team() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id]).await.unwrap();
    teams.tell(user, 2, UserState::Active).await;
    let deactivating = teams
        .in_the_middle_of(format!("update user_states set deactivated = true, version = 3 where user_id = '{user}'"))
        .await;
    let added = teams.overtake(deactivating, teams.add(&sales.id, user)).await;
    assert_eq!(reason(&added.unwrap_err()), "USER_DEACTIVATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_does_not_come_below_one_that_is_being_moved_below_it() {
    let (teams, _) = Teams::with_fallback().await;
    let [north, south] = [create(&teams, "North", "").await.unwrap(), create(&teams, "South", "").await.unwrap()];
    let moving = teams
        .in_the_middle_of(format!(
            "select from department_trees for update;
             update departments set parent_id = '{}', version = version + 1 where id = '{}'",
            south.id, north.id
        ))
        .await;
    let moved = teams.overtake(moving, move_below(&teams, 0, &south.id, &north.id)).await;
    assert_eq!(reason(&moved.unwrap_err()), "DEPARTMENT_CYCLE");
}
