//! The mark of a lead: who gets it, how it ends, and what is told of it.

use diwan_proto::{
    access::v1::Role,
    identity::v1::UserState,
    team::v1::{ListMembersRequest, ListMyTeamsRequest, Membership, SetTeamLeadRequest},
};
use diwan_runtime::ids;
use diwan_testkit::{Person, reason};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::Teams;

async fn set_as(
    teams: &Teams,
    replica: usize,
    who: &Person,
    request_id: &str,
    (team, user, lead): (&str, Uuid, bool),
) -> Result<Membership, Status> {
    let message = SetTeamLeadRequest {
        request_id: request_id.to_owned(),
        team_id: team.to_owned(),
        user_id: user.to_string(),
        lead,
    };
    let request = teams.from(replica, who, message);
    Ok(teams.memberships(replica).set_team_lead(request).await?.into_inner().membership.unwrap())
}

async fn set(teams: &Teams, team: &str, user: Uuid, lead: bool) -> Result<Membership, Status> {
    set_as(teams, 0, &teams.owner, &ids::new_id().to_string(), (team, user, lead)).await
}

async fn leads(teams: &Teams, team: &str) -> Vec<Uuid> {
    let request = teams.from(1, &teams.owner, ListMembersRequest { team_id: team.to_owned(), page: None });
    let members = teams.memberships(1).list_members(request).await.unwrap().into_inner().memberships;
    members.iter().filter(|member| member.lead).map(|member| member.user_id.parse().unwrap()).collect()
}

/// What was told of the memberships in a team: version, whether he is a member, whether he leads.
async fn told(teams: &Teams, team: &str) -> Vec<(i64, bool, bool)> {
    let changes = teams.membership_changes().await;
    let of_team = changes.into_iter().filter_map(|(_, version, change)| {
        let membership = change.membership.unwrap();
        (membership.team_id == team).then_some((version, change.member, membership.lead))
    });
    of_team.collect()
}

#[tokio::test]
async fn the_mark_is_told_once_with_the_next_version_and_ends_with_the_membership() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let person = teams.owner.colleague(Role::User);
    teams.join(0, person.user, &[&general.id, &sales.id]).await.unwrap();
    assert!(set(&teams, &sales.id, person.user, true).await.unwrap().lead);
    assert!(set(&teams, &sales.id, person.user, true).await.unwrap().lead);
    assert_eq!(leads(&teams, &sales.id).await, [person.user]);
    assert!(leads(&teams, &general.id).await.is_empty());
    let request = teams.from(0, &person, ListMyTeamsRequest::default());
    let mine = teams.memberships(0).list_my_teams(request).await.unwrap().into_inner();
    assert_eq!((mine.teams.len(), mine.led_team_ids), (2, vec![sales.id.clone()]));
    teams.remove(0, &sales.id, person.user).await.unwrap();
    assert!(!teams.add(&sales.id, person.user).await.unwrap().lead, "who comes back is a member like the others");
    set(&teams, &sales.id, person.user, true).await.unwrap();
    set(&teams, &sales.id, person.user, false).await.unwrap();
    assert!(!set(&teams, &sales.id, person.user, false).await.unwrap().lead);
    assert_eq!(
        told(&teams, &sales.id).await,
        [(1, true, false), (2, true, true), (3, false, false), (4, true, false), (5, true, true), (6, true, false)]
    );
}

#[tokio::test]
async fn only_members_of_an_active_team_who_are_not_deactivated_get_the_mark() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let [member, stranger] = [ids::new_id(), ids::new_id()];
    teams.join(0, member, &[&general.id, &sales.id]).await.unwrap();
    teams.join(0, stranger, &[&general.id]).await.unwrap();
    let refused = async |team: &str, user: Uuid, lead: bool| {
        let refusal = set(&teams, team, user, lead).await.unwrap_err();
        (refusal.code(), reason(&refusal))
    };
    for lead in [true, false] {
        assert_eq!(refused(&sales.id, stranger, lead).await, (Code::NotFound, "USER_NOT_FOUND".into()));
        assert_eq!(refused(&sales.id, ids::new_id(), lead).await, (Code::NotFound, "USER_NOT_FOUND".into()));
        let unknown = ids::new_id().to_string();
        assert_eq!(refused(&unknown, member, lead).await, (Code::NotFound, "TEAM_NOT_FOUND".into()));
    }
    set(&teams, &sales.id, member, true).await.unwrap();
    teams.tell(member, 3, UserState::Deactivated).await;
    assert_eq!(
        refused(&sales.id, member, true).await,
        (Code::FailedPrecondition, "USER_DEACTIVATED".into()),
        "not even what he has already"
    );
    assert!(!set(&teams, &sales.id, member, false).await.unwrap().lead, "it can be taken from him");
    teams.archive(&sales.id).await;
    assert_eq!(refused(&sales.id, member, false).await, (Code::NotFound, "TEAM_NOT_FOUND".into()));
}

#[tokio::test]
async fn another_accounts_owner_finds_no_such_team_and_a_user_is_refused() {
    let (teams, general) = Teams::with_fallback().await;
    let user = teams.owner.colleague(Role::User);
    teams.join(0, user.user, &[&general.id]).await.unwrap();
    let foreign = set_as(&teams, 0, &Person::owner(), "one", (&general.id, user.user, true)).await.unwrap_err();
    assert_eq!((foreign.code(), reason(&foreign).as_str()), (Code::NotFound, "TEAM_NOT_FOUND"));
    let himself = set_as(&teams, 0, &user, "two", (&general.id, user.user, true)).await.unwrap_err();
    assert_eq!(himself.code(), Code::PermissionDenied);
    assert!(leads(&teams, &general.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_at_once_marks_once_and_who_leaves_meanwhile_keeps_no_mark() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    for round in 0..15 {
        let user = ids::new_id();
        teams.join(0, user, &[&general.id, &sales.id]).await.unwrap();
        let id = format!("mark {round}");
        let mark = (sales.id.as_str(), user, true);
        let (one, other, left) = tokio::join!(
            set_as(&teams, 0, &teams.owner, &id, mark),
            set_as(&teams, 1, &teams.owner, &id, mark),
            teams.remove(round, &sales.id, user)
        );
        left.unwrap();
        assert_eq!(one.as_ref().ok(), other.as_ref().ok(), "both get the same answer: {one:?} {other:?}");
        assert!(!teams.add(&sales.id, user).await.unwrap().lead);
        teams.remove(0, &sales.id, user).await.unwrap();
    }
    assert!(told(&teams, &sales.id).await.iter().all(|(_, member, lead)| *member || !*lead));
}
