//! Working hours: set, read, told to the others, and in the account's time zone.

use std::time::Duration;

use diwan_feed::time::from_proto;
use diwan_proto::{
    identity::v1::{Account, AccountChanged},
    team::v1::{
        CreateTeamRequest, GetOpeningRequest, GetOpeningResponse, GetWorkingHoursRequest, GetWorkingHoursResponse,
        SetWorkingHoursRequest, SetWorkingHoursResponse, Shift, Team, UnarchiveTeamRequest, VisibilityLevel, Weekday,
        WorkingDay, WorkingHours, archive_service_client::ArchiveServiceClient,
        hours_service_client::HoursServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::{bad_fields, eventually, reason};
use futures::future::join_all;
use tonic::{Code, Status};

use crate::support::{Teams, named};

const LIMIT: Duration = Duration::from_secs(30);

/// Fridays from nine to five.
fn fridays() -> WorkingHours {
    let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
    WorkingHours { days: vec![WorkingDay { weekday: Weekday::Friday.into(), shifts }], holidays: Vec::new() }
}

async fn set(
    teams: &Teams,
    replica: usize,
    team: &Team,
    hours: Option<WorkingHours>,
) -> Result<SetWorkingHoursResponse, Status> {
    let message = SetWorkingHoursRequest { request_id: ids::new_id().to_string(), team_id: team.id.clone(), hours };
    send(teams, replica, message).await
}

async fn send(
    teams: &Teams,
    replica: usize,
    message: SetWorkingHoursRequest,
) -> Result<SetWorkingHoursResponse, Status> {
    let mut client = HoursServiceClient::new(teams.worlds[replica % 2].to("team"));
    Ok(client.set_working_hours(teams.from(replica, &teams.owner, message)).await?.into_inner())
}

async fn get(teams: &Teams, team: &Team) -> GetWorkingHoursResponse {
    let request = teams.from(1, &teams.owner, GetWorkingHoursRequest { team_id: team.id.clone() });
    HoursServiceClient::new(teams.worlds[1].to("team")).get_working_hours(request).await.unwrap().into_inner()
}

/// Whether it is open, when that changes, when it opens.
async fn opening(teams: &Teams, team: &Team) -> (bool, String, String) {
    let request = teams.from(0, &teams.owner, GetOpeningRequest { team_id: team.id.clone() });
    let answer = HoursServiceClient::new(teams.worlds[0].to("team")).get_opening(request).await.unwrap();
    let GetOpeningResponse { open, changes_at, opens_at } = answer.into_inner();
    let text =
        |time: Option<prost_types::Timestamp>| time.map_or(String::new(), |t| from_proto(&t).unwrap().to_string());
    (open, text(changes_at), text(opens_at))
}

fn move_to(teams: &Teams, zone: &str, version: i64) {
    let account =
        Account { id: teams.owner.account.to_string(), time_zone: zone.into(), version, ..Account::default() };
    teams.identity.write(teams.owner.account, teams.owner.account, version, &AccountChanged { account: Some(account) });
}

async fn until_zone(teams: &Teams, team: &Team, zone: &str) {
    eventually("the team has the zone", LIMIT, async || get(teams, team).await.time_zone == zone).await;
}

#[tokio::test]
async fn hours_are_set_read_told_and_taken_away() {
    let (teams, general) = Teams::with_fallback().await;
    // Friday the 15th of January 2027, 08:00Z.
    assert_eq!(opening(&teams, &general).await, (true, String::new(), "2027-01-15T08:00:00Z".into()));
    let answer = set(&teams, 0, &general, Some(fridays())).await.unwrap();
    assert_eq!((answer.hours, answer.time_zone.as_str()), (Some(fridays()), "UTC"));
    assert_eq!(get(&teams, &general).await.hours, Some(fridays()));
    let nine = "2027-01-15T09:00:00Z".to_owned();
    assert_eq!(opening(&teams, &general).await, (false, nine.clone(), nine));
    teams.clock.advance(Duration::from_mins(90));
    assert_eq!(opening(&teams, &general).await, (true, "2027-01-15T17:00:00Z".into(), "2027-01-15T09:30:00Z".into()));
    let told = teams.team_changes().await.pop().unwrap();
    assert_eq!((told.0, told.1.working_hours, told.1.time_zone.as_str()), (2, Some(fridays()), "UTC"));
    // Another setting does not touch them.
    let renamed = teams.update(0, Team { name: "Support".into(), ..general.clone() }, &["name"]).await.unwrap();
    assert_eq!((renamed.version, renamed.working_hours), (3, Some(fridays())));
    set(&teams, 0, &general, None).await.unwrap();
    assert_eq!(get(&teams, &general).await.hours, None);
    assert_eq!(teams.team_changes().await.pop().unwrap().1.working_hours, None);
}

#[tokio::test]
async fn a_repeated_request_sets_hours_once_and_bad_ones_are_refused_with_their_place() {
    let (teams, general) = Teams::with_fallback().await;
    let message =
        SetWorkingHoursRequest { request_id: "one".into(), team_id: general.id.clone(), hours: Some(fridays()) };
    let first = send(&teams, 0, message.clone()).await.unwrap();
    set(&teams, 0, &general, None).await.unwrap();
    assert_eq!(send(&teams, 1, message).await.unwrap(), first);
    assert_eq!(get(&teams, &general).await.hours, None);
    let mut hours = fridays();
    hours.days[0].shifts.push(Shift { start_minute: 16 * 60, end_minute: 1440 });
    hours.holidays.push("tomorrow".into());
    let refusal = set(&teams, 0, &general, Some(hours)).await.unwrap_err();
    let bad = ["hours.holidays[0]", "hours.days[0].shifts[1].end_minute", "hours.days[0].shifts[1]"];
    assert_eq!(bad_fields(&refusal), bad);
    let unknown = Team { id: ids::new_id().to_string(), ..Team::default() };
    let refusal = set(&teams, 0, &unknown, Some(fridays())).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "TEAM_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_moves_takes_the_hours_of_its_teams_along() {
    let (teams, general) = Teams::with_fallback().await;
    let always = teams.create_named("Always").await;
    set(&teams, 0, &general, Some(fridays())).await.unwrap();
    move_to(&teams, "Asia/Riyadh", 2);
    until_zone(&teams, &general, "Asia/Riyadh").await;
    // 08:00Z is eleven there.
    assert_eq!(opening(&teams, &general).await, (true, "2027-01-15T14:00:00Z".into(), "2027-01-15T08:00:00Z".into()));
    let (version, told) = teams.team_changes().await.pop().unwrap();
    assert_eq!((version, told.id, told.time_zone.as_str()), (3, general.id.clone(), "Asia/Riyadh"));
    // What comes late changes nothing; a new version of the same zone is not told.
    move_to(&teams, "America/Lima", 1);
    move_to(&teams, "Asia/Riyadh", 3);
    move_to(&teams, "Asia/Tokyo", 4);
    until_zone(&teams, &general, "Asia/Tokyo").await;
    let versions: Vec<_> = teams.team_changes().await.into_iter().map(|(version, team)| (version, team.name)).collect();
    let expected = [(1, "General"), (1, "Always"), (2, "General"), (3, "General"), (4, "General")];
    assert_eq!(versions, expected.map(|(version, name)| (version, name.to_owned())));
    assert_eq!(get(&teams, &always).await.time_zone, "Asia/Tokyo");
    assert_eq!(teams.create_named("Later").await.time_zone, "Asia/Tokyo");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sets_hours_while_the_account_moves_ends_in_the_zone_that_it_ends_in() {
    let (teams, general) = Teams::with_fallback().await;
    let mut all = vec![general];
    for name in ["A", "B", "C", "D", "E", "F", "G"] {
        all.push(teams.create_named(name).await);
    }
    let zones = ["Asia/Riyadh", "Asia/Tokyo", "America/Lima", "Europe/Lisbon", "Africa/Cairo"];
    for round in 0..4 {
        for (place, zone) in (0..).zip(zones) {
            move_to(&teams, zone, round * 5 + place + 1);
        }
        let setting = (0..16).map(|place| {
            let hours = (place % 5 > 0).then(fridays);
            set(&teams, place, &all[place % all.len()], hours)
        });
        for answer in join_all(setting).await {
            answer.unwrap();
        }
    }
    until_zone(&teams, &all[0], zones[4]).await;
    eventually("the last move is applied", LIMIT, async || {
        let version = sqlx::query_scalar::<_, i64>("select version from accounts").fetch_one(&teams.database.pool);
        version.await.unwrap() == 20
    })
    .await;
    let told = teams.team_changes().await;
    for team in &all {
        let (_, last) = told.iter().filter(|(_, told)| told.id == team.id).max_by_key(|(version, _)| *version).unwrap();
        assert!(last.working_hours.is_none() || last.time_zone == zones[4], "{last:?}");
    }
    let mut versions: Vec<_> = told.iter().map(|(version, team)| (team.id.clone(), *version)).collect();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), told.len(), "two events have one version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_comes_back_while_the_account_moves_ends_in_the_zone_that_it_ends_in() {
    let (teams, _) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    set(&teams, 0, &sales, Some(fridays())).await.unwrap();
    teams.archive(&sales.id).await;
    // As the move does, which does not see the archived team, in the middle of it.
    let mut moving = teams.database.pool.begin().await.unwrap();
    sqlx::query("update accounts set time_zone = 'Asia/Tokyo', version = 9").execute(&mut *moving).await.unwrap();
    let message =
        UnarchiveTeamRequest { request_id: ids::new_id().to_string(), team_id: sales.id.clone(), name: String::new() };
    let request = teams.from(0, &teams.owner, message);
    let mut client = ArchiveServiceClient::new(teams.worlds[0].to("team"));
    let returning = tokio::spawn(async move { client.unarchive_team(request).await.unwrap() });
    eventually("it waits, or has not waited", LIMIT, async || {
        let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                        and datname = current_database())";
        returning.is_finished() || sqlx::query_scalar(waits).fetch_one(&teams.database.pool).await.unwrap()
    })
    .await;
    moving.commit().await.unwrap();
    returning.await.unwrap();
    let told = teams.team_changes().await.pop().unwrap().1;
    assert_eq!((told.id, told.archived_at, told.time_zone.as_str()), (sales.id, None, "Asia/Tokyo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_that_are_being_set_when_the_account_moves_are_told_in_the_zone_that_it_moves_to() {
    let (teams, general) = Teams::with_fallback().await;
    let wide = CreateTeamRequest {
        visibility_level: VisibilityLevel::Wide.into(),
        wide_team_ids: vec![general.id.clone()],
        ..named("Wide")
    };
    let wide = teams.create(0, wide).await.unwrap();
    set(&teams, 0, &general, None).await.unwrap();
    // Whoever sets hours has read the zone when he comes to this.
    let further = teams.in_the_middle_of("select from team_visible_teams for update".into()).await;
    let moved = async {
        let waits = async |query: &'static str| {
            let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                            and datname = current_database() and query like $1)";
            sqlx::query_scalar::<_, bool>(waits).bind(query).fetch_one(&teams.database.pool).await.unwrap()
        };
        eventually("the hours are being set", LIMIT, async || waits("%team_visible_teams%").await).await;
        move_to(&teams, "Asia/Tokyo", 2);
        eventually("the move waits, or has not waited", LIMIT, async || {
            let version = sqlx::query_scalar::<_, i64>("select version from accounts").fetch_one(&teams.database.pool);
            waits("%accounts%").await || version.await.unwrap() == 2
        })
        .await;
        further.rollback().await.unwrap();
    };
    tokio::join!(async { set(&teams, 0, &wide, Some(fridays())).await.unwrap() }, moved);
    eventually("the others are told", LIMIT, async || {
        let told = teams.team_changes().await.pop().unwrap().1;
        told.id == wide.id && told.time_zone == "Asia/Tokyo"
    })
    .await;
}
