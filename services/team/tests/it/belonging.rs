//! Every user belongs to at least one active team, whatever happens at once.

use std::time::Duration;

use diwan_proto::{
    identity::v1::UserState,
    team::v1::{ArchiveTeamRequest, UnarchiveTeamRequest, archive_service_client::ArchiveServiceClient},
};
use diwan_runtime::ids;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::Teams;

const TEAMS: usize = 4;
const USERS: usize = 6;
const WORKERS: usize = 8;
const ROUNDS: usize = 40;

/// Users without an active team, in one snapshot. Deactivated ones count: they come back into their teams.
async fn without_a_team(pool: &PgPool) -> Vec<Uuid> {
    let query = "select user_id from members m
                 where not exists (
                     select from memberships s join teams t on t.account_id = s.account_id and t.id = s.team_id
                     where s.account_id = m.account_id and s.user_id = m.user_id and s.left_at is null
                       and t.archived_at is null)";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

/// What the `step`th call of all does; refusals are answers.
async fn act(teams: &Teams, ids: &[String], users: &[Uuid], step: usize) {
    // Steps of coprime lengths meet in every combination.
    let (team, other, user) = (&ids[step % TEAMS], &ids[(step / 3 + 1) % TEAMS], users[step % USERS]);
    let request_id = ids::new_id().to_string();
    let mut archives = ArchiveServiceClient::new(teams.worlds[step % 2].to("team"));
    match (step / 5) % 7 {
        0 | 1 => {
            let (team_id, receiving_team_id) = (team.clone(), other.clone());
            let message = ArchiveTeamRequest { request_id, team_id, receiving_team_id };
            let _ = archives.archive_team(teams.from(step, &teams.owner, message)).await;
        }
        2 => {
            let message = UnarchiveTeamRequest { request_id, team_id: team.clone(), name: String::new() };
            let _ = archives.unarchive_team(teams.from(step, &teams.owner, message)).await;
        }
        3 | 4 => drop(teams.remove(step, team, user).await),
        5 => drop(teams.add(team, user).await),
        // Somebody new, whose first team may be about to end.
        _ => drop(teams.join(step, ids::new_id(), &[team]).await),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_instant_each_user_has_an_active_team_while_teams_end_and_people_come_and_go() {
    let (teams, general) = Teams::with_fallback().await;
    let mut ids = vec![general.id];
    for name in ["Sales", "Support", "Billing"] {
        ids.push(teams.create_named(name).await.id);
    }
    let users = [(); USERS].map(|()| ids::new_id());
    for (number, user) in users.iter().enumerate() {
        teams.join(0, *user, &[&ids[number % TEAMS], &ids[(number + 1) % TEAMS]]).await.unwrap();
    }
    let acting = futures::future::join_all((0..WORKERS).map(|worker| {
        let (teams, ids, users) = (&teams, &ids, &users);
        async move {
            for round in 0..ROUNDS {
                act(teams, ids, users, round * WORKERS + worker).await;
            }
        }
    }));
    let deactivating = async {
        for version in 1..20 {
            let state = if version % 2 == 1 { UserState::Deactivated } else { UserState::Active };
            for user in users {
                teams.tell(user, version, state).await;
            }
        }
    };
    let looking = async {
        loop {
            assert_eq!(without_a_team(&teams.database.pool).await, Vec::<Uuid>::new(), "somebody has no active team");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(acting, deactivating) } => {}
        () = looking => {}
    }
    assert_eq!(without_a_team(&teams.database.pool).await, Vec::<Uuid>::new());
    let ended: i64 =
        sqlx::query_scalar("select count(*) from feed_events where kind = 'diwan.team.v1.MembershipChanged'")
            .fetch_one(&teams.database.pool)
            .await
            .unwrap();
    assert!(ended > 40, "the calls took effect: {ended} changes of memberships");
}
