//! What an installation costs in which nothing happens: 10,000 teams, 50,000 agents who are not there, 1,000 with open inboxes.
//!
//! The teams are made by calls. The agents are copies of one who was invited and has accepted, made in the databases of identity, team
//! and conversation by SQL: each password costs a twentieth of a second.

use std::time::{Duration, Instant};

use diwan_e2e::{
    Failure,
    door::{Door, Person, request_id},
};
use diwan_proto::{
    conversation::v1::{WatchInboxRequest, WatchInboxResponse, inbox_service_client::InboxServiceClient},
    team::v1::{CreateTeamRequest, team_service_client::TeamServiceClient},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::Streaming;

use super::quiet;
use crate::{
    cast::{PASSWORD, Scene, team},
    copies::{self, AGENT, Copies, ID, USER},
    cpu,
    report::{self, Report},
};

const TEAMS: usize = 10_000;
const OFFLINE: usize = 50_000;
const ONLINE: usize = 1_000;
/// A connection to the gateway carries so many streams.
const ON_A_CONNECTION: usize = 50;
const TEAMS_AT_ONCE: usize = 16;
const SIGN_INS_AT_ONCE: usize = 8;
const SETTLE: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_mins(1);
const PROCESSES: [&str; 6] = ["gateway", "identity", "team", "conversation", "mailbox", "billing"];

/// Measures it.
pub(super) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("idle: 10,000 teams, 50,000 agents offline, 1,000 with open inboxes; agents put in by SQL");
    let scene = Scene::start(&[]).await?;
    let owner = scene.owner().await?;
    let empty = used(&scene, MEASURED / 4).await?;
    report::figure("without teams and people, % of a core", format!("{:.2}", sum(&empty)));
    let first = team(&owner).await?;
    scene.hire(&owner, &first).await?;
    make_teams(&owner).await?;
    quiet::wait(&scene).await?;
    copy_agents(&scene, &owner).await?;
    let before = memory(&scene)?;
    let inboxes = come_in(&scene).await?;
    let readers: Vec<_> = inboxes.into_iter().map(|inbox| tokio::spawn(inbox.for_each(|_| async {}))).collect();
    quiet::wait(&scene).await?;
    tokio::time::sleep(SETTLE).await;
    let after = memory(&scene)?;
    let shares = used(&scene, MEASURED).await?;
    if readers.iter().any(tokio::task::JoinHandle::is_finished) {
        return Err("an inbox ended while it was measured".into());
    }
    for reader in readers {
        reader.abort();
    }
    scene.end().await?;
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let bytes = after.saturating_sub(*before) / u64::try_from(ONLINE)?;
        report::figure(&format!("memory of {name} for an open inbox"), format!("{} kB", bytes / 1024));
    }
    for (name, share) in &shares {
        report::figure(&format!("{name}, % of a core"), format!("{share:.2}"));
    }
    let all = sum(&shares);
    report.bar("everything, PostgreSQL as well: under 2 % of a core", format!("{all:.2} %"), all < 2.0);
    Ok(())
}

async fn make_teams(owner: &Person) -> Result<(), Failure> {
    let made = stream::iter(0..TEAMS).map(|place| async move {
        let name = format!("Team {place}");
        let request = CreateTeamRequest { request_id: request_id(), name, ..CreateTeamRequest::default() };
        TeamServiceClient::new(owner.way()).create_team(request).await
    });
    let mut made = made.buffer_unordered(TEAMS_AT_ONCE).enumerate();
    while let Some((place, answer)) = made.next().await {
        answer?;
        if place % 100 == 0 {
            report::progress("teams are made", place, TEAMS);
        }
    }
    report::progress("teams are made", TEAMS, TEAMS);
    Ok(())
}

/// Copies the one agent in each database, with all that he has there and by the same ids, five to a team.
async fn copy_agents(scene: &Scene, owner: &Person) -> Result<(), Failure> {
    let copies = Copies::of_the_agent(scene, owner, OFFLINE + ONLINE).await?;
    let elsewhere = format!("{USER}, 'team_id', teams.id");
    let absent = "insert into presence (account_id, user_id, state, since, version)
         select account_id, id, 'OFFLINE', now(), 1 from users where account_id = '{account}' and role = 3
         on conflict do nothing";
    copies.sign_in(scene).await?;
    let membership = format!("{elsewhere}, 'id', gen_random_uuid()");
    let of_team = [copies.made("members", AGENT, USER), copies.made("memberships", AGENT, &membership)];
    copies.put(scene, "team", &of_team).await?;
    let of_conversation =
        [copies.made("users", "id = '{agent}'", ID), copies.made("slots", AGENT, &elsewhere), absent.to_owned()];
    copies.put(scene, "conversation", &of_conversation).await
}

/// The first of them sign in and open their inboxes, some to a connection.
async fn come_in(scene: &Scene) -> Result<Vec<Streaming<WatchInboxResponse>>, Failure> {
    let mut opened = Vec::with_capacity(ONLINE);
    for first in (1..=ONLINE).step_by(ON_A_CONNECTION) {
        let door = Door::open(scene.installation.gateway()).await?;
        let some = stream::iter((first..first + ON_A_CONNECTION).map(|place| open(&door, place)));
        opened.extend(some.buffer_unordered(SIGN_INS_AT_ONCE).try_collect::<Vec<_>>().await?);
        report::progress("agents open their inboxes", opened.len(), ONLINE);
    }
    Ok(opened)
}

async fn open(door: &Door, place: usize) -> Result<Streaming<WatchInboxResponse>, Failure> {
    let person = door.sign_in(&copies::email(place), PASSWORD).await?;
    Ok(InboxServiceClient::new(person.way()).watch_inbox(WatchInboxRequest::default()).await?.into_inner())
}

/// The resident memory of each process, bytes.
fn memory(scene: &Scene) -> Result<[(&'static str, u64); 2], Failure> {
    let of = |name| Ok::<_, Failure>((name, cpu::memory(scene.pid(name)?)?.0));
    Ok([of("gateway")?, of("conversation")?])
}

/// What each process uses within some time, in percent of a core.
async fn used(scene: &Scene, time: Duration) -> Result<Vec<(&'static str, f64)>, Failure> {
    let mut connection = scene.database("conversation").await?;
    let server = cpu::Server::of(&mut connection).await?;
    let now = || {
        let processes = PROCESSES.iter().map(|name| Ok::<_, Failure>((*name, cpu::used(scene.pid(name)?)?)));
        processes.chain([server.used().map(|used| ("PostgreSQL", used))]).collect::<Result<Vec<_>, Failure>>()
    };
    let (begun, before) = (Instant::now(), now()?);
    tokio::time::sleep(time).await;
    let (after, elapsed) = (now()?, begun.elapsed().as_secs_f64());
    let share = |(before, after): (&(_, Duration), &(_, Duration))| {
        (before.0, 100.0 * after.1.saturating_sub(before.1).as_secs_f64() / elapsed)
    };
    Ok(before.iter().zip(&after).map(share).collect())
}

fn sum(shares: &[(&str, f64)]) -> f64 {
    shares.iter().map(|(_, share)| share).sum()
}
