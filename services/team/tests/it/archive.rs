//! Archiving teams and bringing them back.

use diwan_proto::{
    identity::v1::UserState,
    team::v1::{
        ArchiveTeamRequest, ArchiveTeamResponse, CreateTeamRequest, ListArchivedTeamsRequest, ListTeamsRequest, Team,
        UnarchiveTeamRequest, VisibilityLevel, archive_service_client::ArchiveServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::{Person, reason};
use tonic::{Code, Status};

use crate::support::{Teams, named};

pub async fn archive(
    teams: &Teams,
    replica: usize,
    team: &str,
    receiving: &str,
) -> Result<ArchiveTeamResponse, Status> {
    let message = ArchiveTeamRequest {
        request_id: ids::new_id().to_string(),
        team_id: team.into(),
        receiving_team_id: receiving.into(),
    };
    let mut client = ArchiveServiceClient::new(teams.worlds[replica % 2].to("team"));
    Ok(client.archive_team(teams.from(replica, &teams.owner, message)).await?.into_inner())
}

async fn unarchive(teams: &Teams, team: &str, name: &str) -> Result<Team, Status> {
    let message =
        UnarchiveTeamRequest { request_id: ids::new_id().to_string(), team_id: team.into(), name: name.into() };
    let mut client = ArchiveServiceClient::new(teams.worlds[0].to("team"));
    Ok(client.unarchive_team(teams.from(0, &teams.owner, message)).await?.into_inner().team.unwrap())
}

async fn archived(teams: &Teams) -> Vec<Team> {
    let request = teams.from(1, &teams.owner, ListArchivedTeamsRequest::default());
    let mut client = ArchiveServiceClient::new(teams.worlds[1].to("team"));
    client.list_archived_teams(request).await.unwrap().into_inner().teams
}

async fn active(teams: &Teams) -> Vec<Team> {
    let request = teams.from(0, &teams.owner, ListTeamsRequest::default());
    teams.teams(0).list_teams(request).await.unwrap().into_inner().teams
}

fn refused(refusal: Result<impl std::fmt::Debug, Status>) -> (Code, String) {
    let refusal = refusal.unwrap_err();
    (refusal.code(), reason(&refusal))
}

#[tokio::test]
async fn the_receiving_team_becomes_the_fallback_and_takes_the_place_in_the_lists_of_others() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let wide = CreateTeamRequest {
        visibility_level: VisibilityLevel::Wide.into(),
        wide_team_ids: vec![general.id.clone()],
        ..named("Wide")
    };
    let wide = teams.create(0, wide).await.unwrap();
    let answer = archive(&teams, 0, &general.id, &sales.id).await.unwrap();
    assert_eq!(answer.team.unwrap().receiving_team_id, sales.id);
    let now = active(&teams).await;
    assert_eq!(
        now.iter().map(|team| (team.name.as_str(), team.fallback)).collect::<Vec<_>>(),
        [("Sales", true), ("Wide", false)]
    );
    assert_eq!(now[1].wide_team_ids, std::slice::from_ref(&sales.id));
    assert_eq!(archived(&teams).await.iter().map(|team| &team.id).collect::<Vec<_>>(), [&general.id]);
    // Each change is told once, with the next version.
    let told: Vec<_> = teams.team_changes().await.into_iter().rev().take(3).collect();
    let of = |id: &str| told.iter().find(|(_, team)| team.id == id).unwrap();
    assert_eq!([of(&general.id).0, of(&sales.id).0, of(&wide.id).0], [2, 2, 2]);
    assert!(of(&general.id).1.archived_at.is_some());
    // The receiving team follows it in turn: what led to it leads on.
    archive(&teams, 0, &sales.id, &wide.id).await.unwrap();
    assert!(archived(&teams).await.iter().all(|team| team.receiving_team_id == wide.id));
    assert_eq!(active(&teams).await[0].wide_team_ids, Vec::<String>::new(), "a team does not list itself");
}

#[tokio::test]
async fn who_is_left_without_a_team_joins_the_receiving_one_and_the_others_stay_where_they_are() {
    let (teams, general) = Teams::with_fallback().await;
    let [sales, support] = [teams.create_named("Sales").await, teams.create_named("Support").await];
    let [only, both] = [ids::new_id(), ids::new_id()];
    teams.join(0, only, &[&sales.id]).await.unwrap();
    teams.join(0, both, &[&sales.id, &support.id]).await.unwrap();
    let answer = archive(&teams, 0, &sales.id, &general.id).await.unwrap();
    assert_eq!(answer.joined, 1);
    assert!(teams.members(&general.id).await.contains(&only));
    assert!(!teams.members(&general.id).await.contains(&both));
    assert_eq!(refused(teams.remove(0, &support.id, both).await), (Code::FailedPrecondition, "LAST_MEMBERSHIP".into()));
    // Whoever was invited to it comes into the one that has taken its place.
    let late = ids::new_id();
    teams.join(0, late, &[&sales.id]).await.unwrap();
    assert!(teams.members(&general.id).await.contains(&late));
    // It comes back with its members.
    unarchive(&teams, &sales.id, "").await.unwrap();
    let mut members = teams.members(&sales.id).await;
    members.sort();
    let mut expected = vec![only, both];
    expected.sort();
    assert_eq!(members, expected);
}

#[tokio::test]
async fn for_who_is_deactivated_the_receiving_team_stands_in_the_place_of_the_archived_one() {
    let (teams, general) = Teams::with_fallback().await;
    let [sales, support] = [teams.create_named("Sales").await, teams.create_named("Support").await];
    let [away, back] = [ids::new_id(), ids::new_id()];
    for user in [away, back] {
        teams.join(0, user, &[&sales.id, &support.id]).await.unwrap();
        teams.tell(user, 1, UserState::Deactivated).await;
    }
    teams.tell(back, 2, UserState::Active).await;
    let answer = archive(&teams, 0, &sales.id, &general.id).await.unwrap();
    assert_eq!(answer.joined, 0, "nobody was left without a team");
    let members = teams.members(&general.id).await;
    assert!(members.contains(&away) && !members.contains(&back));
    assert!(teams.members(&support.id).await.contains(&away));
}

#[tokio::test]
async fn who_joins_the_receiving_team_belongs_to_it_before_it_is_told_that_the_other_one_is_archived() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let user = ids::new_id();
    teams.join(0, user, &[&sales.id]).await.unwrap();
    archive(&teams, 0, &sales.id, &general.id).await.unwrap();
    let events = teams.events().await;
    let kinds: Vec<&str> = events.iter().map(|event| event.payload.as_ref().unwrap().type_url.as_str()).collect();
    let last: Vec<&str> = kinds.iter().rev().take(2).map(|kind| kind.rsplit('.').next().unwrap()).collect();
    assert_eq!(last, ["TeamChanged", "MembershipChanged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_teams_that_are_archived_at_once_in_favour_of_each_other_leave_one() {
    let (teams, general) = Teams::with_fallback().await;
    for round in 0..10 {
        let [one, other] =
            [teams.create_named(&format!("One {round}")).await, teams.create_named(&format!("Other {round}")).await];
        let user = ids::new_id();
        teams.join(0, user, &[&one.id, &other.id]).await.unwrap();
        let both = tokio::join!(archive(&teams, 0, &one.id, &other.id), archive(&teams, 1, &other.id, &one.id));
        let (refusal, left) = match both {
            (Ok(_), Err(refusal)) => (refusal, &other),
            (Err(refusal), Ok(_)) => (refusal, &one),
            both => unreachable!("exactly one succeeds: {both:?}"),
        };
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "TEAM_NOT_FOUND"));
        assert_eq!(teams.members(&left.id).await, [user]);
    }
    assert!(active(&teams).await.iter().any(|team| team.id == general.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_loses_his_last_team_while_another_of_his_is_archived() {
    let (teams, general) = Teams::with_fallback().await;
    for round in 0..15 {
        let [one, other] =
            [teams.create_named(&format!("One {round}")).await, teams.create_named(&format!("Other {round}")).await];
        let user = ids::new_id();
        teams.join(0, user, &[&one.id, &other.id]).await.unwrap();
        let (archived, removed) =
            tokio::join!(archive(&teams, 0, &one.id, &general.id), teams.remove(1, &other.id, user));
        let joined = archived.unwrap().joined;
        let in_other = teams.members(&other.id).await.contains(&user);
        let in_general = teams.members(&general.id).await.contains(&user);
        assert_eq!((removed.is_err(), joined == 0, in_general), (in_other, in_other, !in_other));
    }
}

#[tokio::test]
async fn the_last_active_team_stays_and_a_team_cannot_receive_itself() {
    let (teams, general) = Teams::with_fallback().await;
    assert_eq!(
        refused(archive(&teams, 0, &general.id, &general.id).await),
        (Code::FailedPrecondition, "LAST_TEAM".into())
    );
    let sales = teams.create_named("Sales").await;
    let no_team = (Code::NotFound, "TEAM_NOT_FOUND".to_owned());
    assert_eq!(refused(archive(&teams, 0, &general.id, &general.id).await), no_team);
    assert_eq!(refused(archive(&teams, 0, &general.id, &ids::new_id().to_string()).await), no_team);
    let stranger = Person::owner();
    let foreign = teams.ensure_fallback(0, &stranger, "en").await.unwrap();
    assert_eq!(refused(archive(&teams, 0, &general.id, &foreign.id).await), no_team);
    assert_eq!(refused(unarchive(&teams, &sales.id, "").await), no_team, "it is active");
}

#[tokio::test]
async fn a_team_comes_back_under_another_name_when_its_own_is_taken() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    archive(&teams, 0, &sales.id, &general.id).await.unwrap();
    teams.create_named("Sales").await;
    assert_eq!(refused(unarchive(&teams, &sales.id, "").await), (Code::AlreadyExists, "TEAM_NAME_TAKEN".into()));
    assert_eq!(unarchive(&teams, &sales.id, "Sales of old").await.unwrap().name, "Sales of old");
    assert_eq!(archived(&teams).await, []);
}
