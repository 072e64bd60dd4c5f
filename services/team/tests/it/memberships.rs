//! Adding, removing and listing members.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    common::v1::PageRequest,
    identity::v1::UserState,
    team::v1::{AddMemberRequest, ListMembersRequest, ListMyTeamsRequest, RemoveMemberRequest},
};
use diwan_runtime::ids;
use diwan_testkit::{bad_fields, reason};
use tonic::Code;

use crate::support::Teams;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_removals_at_once_from_a_users_last_two_teams_exactly_one_succeeds() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    for _ in 0..20 {
        let user = ids::new_id();
        teams.join(0, user, &[&general.id, &sales.id]).await.unwrap();
        let (one, other) = tokio::join!(teams.remove(0, &general.id, user), teams.remove(1, &sales.id, user));
        let refusal = match (one, other) {
            (Ok(()), Err(refusal)) | (Err(refusal), Ok(())) => refusal,
            both => unreachable!("exactly one succeeds: {both:?}"),
        };
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::FailedPrecondition, "LAST_MEMBERSHIP"));
        let left = [&general.id, &sales.id].map(|team| teams.members(team));
        let left = futures::future::join_all(left).await.concat();
        assert_eq!(left.iter().filter(|member| **member == user).count(), 1);
    }
}

#[tokio::test]
async fn the_last_membership_stays_and_one_in_an_archived_team_does_not_count() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id, &sales.id]).await.unwrap();
    teams.archive(&sales.id).await;
    let before = teams.events().await.len();
    assert_eq!(reason(&teams.remove(0, &general.id, user).await.unwrap_err()), "LAST_MEMBERSHIP");
    assert!(teams.members(&general.id).await.contains(&user));
    assert_eq!(teams.events().await.len(), before, "what was refused is not told");
}

#[tokio::test]
async fn adding_a_member_or_removing_who_is_none_again_changes_nothing() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id]).await.unwrap();
    teams.remove(0, &sales.id, user).await.unwrap();
    let added = teams.add(&sales.id, user).await.unwrap();
    teams.clock.advance(Duration::from_mins(1));
    assert_eq!(teams.add(&sales.id, user).await.unwrap(), added);
    teams.remove(0, &sales.id, user).await.unwrap();
    teams.remove(0, &sales.id, user).await.unwrap();
    let changes = teams.membership_changes().await;
    let of_sales = changes.iter().filter(|(_, _, change)| change.membership.as_ref().unwrap().team_id == sales.id);
    assert_eq!(
        of_sales.map(|(_, version, change)| (*version, change.member)).collect::<Vec<_>>(),
        [(1, true), (2, false)]
    );
}

#[tokio::test]
async fn who_is_deactivated_joins_no_further_team_until_he_is_back() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id]).await.unwrap();
    teams.tell(user, 3, UserState::Deactivated).await;
    let refused = teams.add(&sales.id, user).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "USER_DEACTIVATED"));
    assert_eq!(teams.members(&general.id).await.iter().filter(|member| **member == user).count(), 1, "his teams stay");
    teams.tell(user, 4, UserState::Active).await;
    teams.add(&sales.id, user).await.unwrap();
}

#[tokio::test]
async fn a_membership_keeps_its_id_and_its_version_goes_on_rising_when_he_comes_back() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id]).await.unwrap();
    for _ in 0..2 {
        teams.clock.advance(Duration::from_mins(1));
        teams.add(&sales.id, user).await.unwrap();
        teams.remove(0, &sales.id, user).await.unwrap();
    }
    let again = teams.add(&sales.id, user).await.unwrap();
    let changes = teams.membership_changes().await;
    let of_sales: Vec<_> =
        changes.iter().filter(|(_, _, change)| change.membership.as_ref().unwrap().team_id == sales.id).collect();
    let told: Vec<_> = of_sales.iter().map(|(_, version, change)| (*version, change.member)).collect();
    assert_eq!(told, [(1, true), (2, false), (3, true), (4, false), (5, true)]);
    assert!(of_sales.iter().all(|(id, _, _)| *id == of_sales[0].0));
    assert_eq!(of_sales[4].2.membership, Some(again));
}

#[tokio::test]
async fn somebody_who_never_became_active_here_is_no_user() {
    let (teams, general) = Teams::with_fallback().await;
    let stranger = diwan_testkit::Person::owner();
    teams.ensure_fallback(0, &stranger, "en").await.unwrap();
    for user in [ids::new_id(), stranger.user] {
        for refusal in [teams.add(&general.id, user).await.map(drop), teams.remove(0, &general.id, user).await] {
            let refusal = refusal.unwrap_err();
            assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "USER_NOT_FOUND"));
        }
    }
}

#[tokio::test]
async fn a_repeated_removal_gets_its_first_answer_even_when_he_is_back() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&general.id, &sales.id]).await.unwrap();
    let message =
        RemoveMemberRequest { request_id: "once".into(), team_id: sales.id.clone(), user_id: user.to_string() };
    for _ in 0..2 {
        let request = teams.from(0, &teams.owner, message.clone());
        teams.memberships(0).remove_member(request).await.unwrap();
        teams.add(&sales.id, user).await.unwrap();
    }
    assert_eq!(teams.members(&sales.id).await, [user]);
}

#[tokio::test]
async fn members_are_listed_by_the_time_they_joined_page_by_page() {
    let (teams, general) = Teams::with_fallback().await;
    let mut expected = vec![teams.owner.user.to_string()];
    for _ in 0..4 {
        teams.clock.advance(Duration::from_secs(1));
        let user = ids::new_id();
        teams.join(0, user, &[&general.id]).await.unwrap();
        expected.push(user.to_string());
    }
    let (mut listed, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let message = ListMembersRequest { team_id: general.id.clone(), page: Some(PageRequest { size: 2, token }) };
        let request = teams.from(0, &teams.owner, message);
        let answer = teams.memberships(0).list_members(request).await.unwrap().into_inner();
        listed.extend(answer.memberships.into_iter().map(|membership| membership.user_id));
        token = answer.page.unwrap().next_token;
    }
    assert_eq!((listed, token.as_str()), (expected, ""));
}

#[tokio::test]
async fn every_bad_field_of_a_membership_is_named() {
    let (teams, _) = Teams::with_fallback().await;
    let bad = |team_id: &str| (String::new(), team_id.to_owned(), "u".to_owned());
    let (request_id, team_id, user_id) = bad("t");
    let request = teams.from(0, &teams.owner, AddMemberRequest { request_id, team_id, user_id });
    let refusal = teams.memberships(0).add_member(request).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["request_id", "team_id", "user_id"]);
    let (request_id, team_id, user_id) = bad("");
    let request = teams.from(0, &teams.owner, RemoveMemberRequest { request_id, team_id, user_id });
    let refusal = teams.memberships(0).remove_member(request).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["request_id", "team_id", "user_id"]);
    let page = Some(PageRequest { size: 201, token: "?".into() });
    let request = teams.from(0, &teams.owner, ListMembersRequest { team_id: "t".into(), page });
    let refusal = teams.memberships(0).list_members(request).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["team_id", "page.size", "page.token"]);
}

#[tokio::test]
async fn a_user_gets_his_own_active_teams_by_name_page_by_page() {
    let (teams, general) = Teams::with_fallback().await;
    let (sales, gone) = (teams.create_named("Sales").await, teams.create_named("Gone").await);
    teams.create_named("Another").await;
    let user = teams.owner.colleague(Role::User);
    teams.join(0, user.user, &[&sales.id, &general.id, &gone.id]).await.unwrap();
    teams.archive(&gone.id).await;
    let (mut names, mut token) = (Vec::new(), String::new());
    for _ in 0..2 {
        let page = Some(PageRequest { size: 1, token });
        let request = teams.from(0, &user, ListMyTeamsRequest { page });
        let answer = teams.memberships(0).list_my_teams(request).await.unwrap().into_inner();
        names.extend(answer.teams.into_iter().map(|team| team.name));
        token = answer.page.unwrap().next_token;
    }
    assert_eq!((names, token.as_str()), (vec!["General".to_owned(), "Sales".to_owned()], ""));
}
