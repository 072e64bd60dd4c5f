//! Who may do what, and what other accounts' ids answer.

use diwan_proto::{
    access::v1::Role,
    team::v1::{
        AddMemberRequest, CreateTeamRequest, GetTeamRequest, JoinTeamsRequest, ListMembersRequest, ListTeamsRequest,
        RemoveMemberRequest, Team, UpdateTeamRequest, membership_service_client::MembershipServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::{Person, reason};
use tonic::{Code, Status};

use crate::support::{Teams, named};

async fn refusals_for(teams: &Teams, team: &str, user: &str) -> Vec<Status> {
    let (id, request_id) = (team.to_owned(), || ids::new_id().to_string());
    let owner = &teams.owner;
    let get = teams.from(0, owner, GetTeamRequest { team_id: id.clone() });
    let update = UpdateTeamRequest {
        request_id: request_id(),
        team: Some(Team { id: id.clone(), name: "Stolen".into(), ..Team::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".into()] }),
    };
    let wide = CreateTeamRequest { wide_team_ids: vec![id.clone()], ..named("Wide") };
    let add = AddMemberRequest { request_id: request_id(), team_id: id.clone(), user_id: user.to_owned() };
    let remove = RemoveMemberRequest { request_id: request_id(), team_id: id.clone(), user_id: user.to_owned() };
    let list = teams.from(0, owner, ListMembersRequest { team_id: id, page: None });
    vec![
        teams.teams(0).get_team(get).await.unwrap_err(),
        teams.teams(0).update_team(teams.from(0, owner, update)).await.unwrap_err(),
        teams.create(0, wide).await.unwrap_err(),
        teams.memberships(0).add_member(teams.from(0, owner, add)).await.unwrap_err(),
        teams.memberships(0).remove_member(teams.from(0, owner, remove)).await.unwrap_err(),
        teams.memberships(0).list_members(list).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn another_accounts_team_answers_exactly_as_one_that_does_not_exist() {
    let (teams, _) = Teams::with_fallback().await;
    let stranger = Person::owner();
    let theirs = teams.ensure_fallback(0, &stranger, "en").await.unwrap();
    let gone = teams.create_named("Gone").await;
    teams.archive(&gone.id).await;
    let user = stranger.user.to_string();
    for id in [theirs.id.clone(), gone.id, ids::new_id().to_string()] {
        for refusal in refusals_for(&teams, &id, &user).await {
            assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "TEAM_NOT_FOUND"));
            assert_eq!(refusal.message(), "There is no such active team in this account.");
        }
    }
    assert_eq!(teams.ensure_fallback(0, &stranger, "en").await.unwrap(), theirs);
}

#[tokio::test]
async fn a_user_sees_teams_and_members_and_changes_none() {
    let (teams, general) = Teams::with_fallback().await;
    let user = teams.owner.colleague(Role::User);
    let request = teams.from(0, &user, ListTeamsRequest { page: None });
    assert_eq!(teams.teams(0).list_teams(request).await.unwrap().into_inner().teams, std::slice::from_ref(&general));
    let request = teams.from(0, &user, ListMembersRequest { team_id: general.id.clone(), page: None });
    assert_eq!(teams.memberships(0).list_members(request).await.unwrap().into_inner().memberships.len(), 1);
    let refusal = teams.teams(0).create_team(teams.from(0, &user, named("Mine"))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    let admin = teams.owner.colleague(Role::Admin);
    assert!(teams.teams(0).create_team(teams.from(0, &admin, named("Ours"))).await.is_ok());
}

#[tokio::test]
async fn only_identity_makes_users_known() {
    let (teams, general) = Teams::with_fallback().await;
    let message = JoinTeamsRequest {
        account_id: teams.owner.account.to_string(),
        user_id: ids::new_id().to_string(),
        team_ids: vec![general.id],
    };
    let mailbox = teams.worlds[0].to_as("team", "mailbox");
    let refusal = MembershipServiceClient::new(mailbox).join_teams(message.clone()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    let request = teams.from(0, &teams.owner, message);
    assert_eq!(teams.memberships(0).join_teams(request).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn every_table_has_its_place_in_a_cluster() {
    let teams = Teams::empty().await;
    let missing = diwan_testkit::undistributed(&teams.database.pool, include_str!("../../distribute.sql")).await;
    assert!(missing.is_empty(), "{missing:?}");
}
