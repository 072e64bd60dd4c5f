//! Making and changing teams.

use diwan_proto::team::v1::{
    AutomaticReply, AutomaticReplyText, BatchGetTeamsRequest, CreateTeamRequest, SetWorkingHoursRequest, Team,
    UpdateTeamRequest, VisibilityLevel, WorkingDay, WorkingHours, hours_service_client::HoursServiceClient,
    team_service_client::TeamServiceClient,
};
use diwan_runtime::ids;
use diwan_testkit::{bad_fields, metadata, reason};
use futures::future::join_all;
use tonic::Code;

use crate::support::{Teams, named};

/// So many fit into a message when each takes two bytes.
const MILLION: usize = 1_000_000;

async fn changes_of(teams: &Teams, team: &Team) -> Vec<(i64, Team)> {
    teams.team_changes().await.into_iter().filter(|(_, changed)| changed.id == team.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_make_a_team_with_one_name_at_once_one_succeeds() {
    let (teams, _) = Teams::with_fallback().await;
    let names = ["Atenção", "ATENÇÃO", "atenção", " Atenção "];
    let made = join_all((0..16).map(|place| teams.create(place, named(names[place % 4])))).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 15));
    for refusal in refused {
        let refusal = refusal.unwrap_err();
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::AlreadyExists, "TEAM_NAME_TAKEN"));
    }
    assert_eq!(teams.names().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_makes_one_team_and_gets_the_first_answer() {
    let (teams, _) = Teams::with_fallback().await;
    let message = named("Sales");
    let made = join_all((0..8).map(|place| teams.create(place, message.clone()))).await;
    let first = made[0].as_ref().unwrap();
    for team in &made {
        assert_eq!(team.as_ref().unwrap(), first);
    }
    assert_eq!(teams.names().await, ["General", "Sales"]);
    teams.update(0, Team { name: "Selling".into(), ..first.clone() }, &["name"]).await.unwrap();
    assert_eq!(&teams.create(1, message.clone()).await.unwrap(), first);
    let refusal = teams.create(0, CreateTeamRequest { name: "Support".into(), ..message }).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn a_team_is_as_it_was_asked_for() {
    let (teams, general) = Teams::with_fallback().await;
    let asked = CreateTeamRequest {
        assignment_limit: 3,
        topic_mandatory: true,
        visibility_level: VisibilityLevel::Wide.into(),
        wide_team_ids: vec![general.id.clone(), general.id.clone()],
        sticky_owner: true,
        wait_alert_seconds: 600,
        ..named("Support")
    };
    let made = teams.create(0, asked).await.unwrap();
    assert_eq!((made.name.as_str(), made.assignment_limit, made.topic_mandatory), ("Support", 3, true));
    assert_eq!(made.visibility_level(), VisibilityLevel::Wide);
    assert_eq!(made.wide_team_ids, [general.id]);
    assert_eq!((made.sticky_owner, made.wait_alert_seconds), (true, 600));
    assert_eq!((made.fallback, made.version, made.account_id), (false, 1, teams.owner.account.to_string()));
    assert_eq!(teams.create_named("Plain").await.visibility_level(), VisibilityLevel::Default);
}

#[tokio::test]
async fn an_update_changes_what_the_mask_names_and_nothing_else() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create(0, CreateTeamRequest { assignment_limit: 3, ..named("Sales") }).await.unwrap();
    let wanted = Team {
        name: "Verkauf".into(),
        assignment_limit: -1,
        topic_mandatory: true,
        visibility_level: 77,
        wide_team_ids: vec!["nonsense".into()],
        fallback: true,
        ..sales.clone()
    };
    let changed = teams.update(0, wanted, &["topic_mandatory", "name"]).await.unwrap();
    assert_eq!(changed, Team { name: "Verkauf".into(), topic_mandatory: true, version: 2, ..sales.clone() });
    let wide = Team {
        visibility_level: VisibilityLevel::Wide.into(),
        wide_team_ids: vec![general.id.clone(), sales.id.clone()],
        ..sales.clone()
    };
    let changed = teams.update(1, wide, &["wide_team_ids", "visibility_level", "assignment_limit"]).await.unwrap();
    assert_eq!(
        (changed.wide_team_ids.as_slice(), changed.assignment_limit, changed.version),
        ([general.id].as_slice(), 3, 3)
    );
    let alerting = Team { sticky_owner: true, wait_alert_seconds: 60, ..sales.clone() };
    let changed = teams.update(0, alerting, &["sticky_owner", "wait_alert_seconds"]).await.unwrap();
    assert_eq!((changed.sticky_owner, changed.wait_alert_seconds, changed.assignment_limit), (true, 60, 3));
    let cleared = teams.update(0, sales, &["wide_team_ids"]).await.unwrap();
    assert!(cleared.wide_team_ids.is_empty() && cleared.visibility_level() == VisibilityLevel::Wide);
}

#[tokio::test]
async fn a_mask_that_names_nothing_or_what_cannot_be_changed_is_refused() {
    let (teams, general) = Teams::with_fallback().await;
    for paths in [[].as_slice(), &["fallback"], &["name", "colour"], &["team.name"], &["version"]] {
        let refusal = teams.update(0, general.clone(), paths).await.unwrap_err();
        assert_eq!((refusal.code(), bad_fields(&refusal)), (Code::InvalidArgument, vec!["update_mask".into()]));
    }
    let message = UpdateTeamRequest { request_id: "a".into(), team: Some(general.clone()), update_mask: None };
    let request = teams.from(0, &teams.owner, message);
    assert_eq!(bad_fields(&teams.teams(0).update_team(request).await.unwrap_err()), ["update_mask"]);
    assert_eq!(teams.team_changes().await, [(1, general)]);
}

#[tokio::test]
async fn every_bad_field_of_a_team_is_named() {
    let (teams, _) = Teams::with_fallback().await;
    let bad = Team {
        id: "7".into(),
        name: "two\nlines".into(),
        assignment_limit: 10_001,
        visibility_level: 9,
        wide_team_ids: vec![ids::new_id().to_string(), "?".into()],
        ..Team::default()
    };
    let message = CreateTeamRequest {
        request_id: "x".repeat(65),
        name: bad.name.clone(),
        assignment_limit: bad.assignment_limit,
        topic_mandatory: false,
        visibility_level: bad.visibility_level,
        wide_team_ids: bad.wide_team_ids.clone(),
        wait_alert_seconds: -1,
        ..CreateTeamRequest::default()
    };
    let refusal = teams.create(0, message).await.unwrap_err();
    let expected =
        ["request_id", "name", "assignment_limit", "visibility_level", "wide_team_ids[1]", "wait_alert_seconds"];
    assert_eq!(bad_fields(&refusal), expected);
    let paths = ["name", "assignment_limit", "visibility_level", "wide_team_ids"];
    let refusal = teams.update(0, bad, &paths).await.unwrap_err();
    let expected = ["team.id", "team.name", "team.assignment_limit", "team.visibility_level", "team.wide_team_ids[1]"];
    assert_eq!(bad_fields(&refusal), expected);
    let many = CreateTeamRequest { wide_team_ids: vec![String::new(); 201], ..named("Many") };
    assert_eq!(bad_fields(&teams.create(0, many).await.unwrap_err()), ["wide_team_ids"]);
}

#[tokio::test]
async fn of_a_million_entries_the_list_is_named_and_nothing_in_it() {
    let (teams, general) = Teams::with_fallback().await;
    let wide = CreateTeamRequest { wide_team_ids: vec![String::new(); MILLION], ..named("Wide") };
    assert_eq!(bad_fields(&teams.create(0, wide).await.unwrap_err()), ["wide_team_ids"]);
    let texts = vec![AutomaticReplyText::default(); MILLION];
    let automatic_reply = Some(AutomaticReply { enabled: true, texts });
    let replying = CreateTeamRequest { automatic_reply, ..named("Replying") };
    assert_eq!(bad_fields(&teams.create(0, replying).await.unwrap_err()), ["automatic_reply.texts"]);
    let days = vec![WorkingDay::default(); MILLION];
    let hours = Some(WorkingHours { days, holidays: Vec::new() });
    let request = SetWorkingHoursRequest { request_id: ids::new_id().to_string(), team_id: general.id, hours };
    let mut client = HoursServiceClient::new(teams.worlds[0].to("team"));
    let refusal = client.set_working_hours(teams.from(0, &teams.owner, request)).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["hours.days"]);
}

#[tokio::test]
async fn a_team_takes_no_name_of_another_but_may_change_the_case_of_its_own() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let refusal = teams.update(0, Team { name: "GENERAL".into(), ..sales.clone() }, &["name"]).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::AlreadyExists, "TEAM_NAME_TAKEN"));
    assert_eq!(metadata(&refusal, "name").as_deref(), Some("GENERAL"));
    let changed = teams.update(0, Team { name: "SALES".into(), ..sales.clone() }, &["name"]).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.version), ("SALES", 2));
    teams.archive(&sales.id).await;
    assert_eq!(teams.update(0, Team { name: "Sales".into(), ..general }, &["name"]).await.unwrap().name, "Sales");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_each_get_a_version_and_the_feed_tells_the_team_at_each_of_them() {
    let (teams, _) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    let updates = (1..=16).map(|limit| {
        let team = Team { assignment_limit: limit, ..sales.clone() };
        let place = usize::try_from(limit).unwrap();
        teams.update(place, team, &["assignment_limit"])
    });
    let mut answers: Vec<Team> = join_all(updates).await.into_iter().map(Result::unwrap).collect();
    answers.sort_by_key(|team| team.version);
    let mut told = changes_of(&teams, &sales).await;
    // Those of transactions that overlapped may stand in any order: that is what the version is for.
    told.sort_by_key(|(version, _)| *version);
    let (versions, told): (Vec<i64>, Vec<Team>) = told.into_iter().unzip();
    assert_eq!(versions, (1..=17).collect::<Vec<_>>());
    assert_eq!(told[0], sales);
    assert_eq!(told[1..], answers, "each event tells what its change answered");
}

#[tokio::test]
async fn changes_one_after_the_other_stand_in_the_feed_in_their_order() {
    let (teams, _) = Teams::with_fallback().await;
    let mut expected = vec![teams.create_named("Sales").await];
    for limit in 1..=5 {
        let team = Team { assignment_limit: limit, ..expected[0].clone() };
        expected.push(teams.update(0, team, &["assignment_limit"]).await.unwrap());
    }
    let told = changes_of(&teams, &expected[0]).await;
    let expected: Vec<_> = (1..).zip(expected).collect();
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_teams_that_are_told_to_show_each_other_at_once_do() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    for _ in 0..5 {
        let show = |team: &Team, other: &Team| Team { wide_team_ids: vec![other.id.clone()], ..team.clone() };
        let (one, other) = tokio::join!(
            teams.update(0, show(&general, &sales), &["wide_team_ids"]),
            teams.update(1, show(&sales, &general), &["wide_team_ids"]),
        );
        assert_eq!(
            (one.unwrap().wide_team_ids, other.unwrap().wide_team_ids),
            (vec![sales.id.clone()], vec![general.id.clone()])
        );
    }
}

#[tokio::test]
async fn teams_are_listed_by_name_whatever_the_case_page_by_page_without_the_archived() {
    let (teams, _) = Teams::with_fallback().await;
    for name in ["zebra", "Alpha", "École", "beta"] {
        teams.create_named(name).await;
    }
    let gone = teams.create_named("Cargo").await;
    teams.archive(&gone.id).await;
    assert_eq!(teams.names().await, ["Alpha", "beta", "General", "zebra", "École"]);
}

#[tokio::test]
async fn services_get_the_teams_that_are_active_in_the_account_they_name() {
    let (teams, general) = Teams::with_fallback().await;
    let gone = teams.create_named("Gone").await;
    teams.archive(&gone.id).await;
    let foreign = teams.ensure_fallback(0, &diwan_testkit::Person::owner(), "en").await.unwrap();
    let mut client = TeamServiceClient::new(teams.worlds[0].to_as("team", "mailbox"));
    let asked = vec![general.id.clone(), gone.id, foreign.id, ids::new_id().to_string(), general.id.clone()];
    let message = BatchGetTeamsRequest { account_id: teams.owner.account.to_string(), team_ids: asked };
    assert_eq!(client.batch_get_teams(message).await.unwrap().into_inner().teams, [general]);
}
