//! A thousand people who sign in at once, what everybody else notices of it, and the time that each kind of refusal takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use diwan_e2e::{
    Failure,
    door::{Door, Person, request_id},
};
use diwan_proto::{
    identity::v1::{
        DeactivateUserRequest, SignInRequest, session_service_client::SessionServiceClient,
        user_service_client::UserServiceClient,
    },
    team::v1::{GetTeamRequest, Team, team_service_client::TeamServiceClient},
};
use futures::future::join_all;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    cast::{self, PASSWORD, Scene},
    cpu,
    report::{self, Report},
    spread::Spread,
};

const AT_ONCE: usize = 1000;
/// Of argon2id as identity runs it, in bytes.
const RUN: u64 = 19 * 1024 * 1024;
/// Hashing is what it measures: so many runs at once, whatever the machine has.
const RUNS: u64 = 2;
const TRIES: usize = 60;

/// Measures all three.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("sign-in: a thousand at once");
    let many = u16::MAX.to_string();
    let scene = Scene::start(&[
        ("DIWAN_IDENTITY_PASSWORD_RUNS", &RUNS.to_string()),
        ("DIWAN_IDENTITY_FAILURES_PER_IP", &many),
        ("DIWAN_IDENTITY_FAILURES_PER_ADDRESS", &many),
    ])
    .await?;
    let owner = scene.owner().await?;
    let team = cast::team(&owner).await?;
    rush(report, &scene, &owner, &team).await?;
    refusals(&scene, &owner, &team).await?;
    scene.end().await
}

async fn rush(report: &mut Report, scene: &Scene, owner: &Person, team: &Team) -> Result<(), Failure> {
    let identity = scene.pid("identity")?;
    let (before, _) = cpu::memory(identity)?;
    let quiet = others(owner, team, tokio::time::sleep(Duration::from_secs(3))).await?.1;
    let doors = doors(scene).await?;
    let rush = async {
        let calls = (0..AT_ONCE).map(|place| sign_in(&doors[place % doors.len()], &owner.user.email, PASSWORD));
        join_all(calls).await
    };
    let begun = Instant::now();
    let (answers, busy) = others(owner, team, rush).await?;
    let took = begun.elapsed();
    let (_, peak) = cpu::memory(identity)?;
    let let_in = answers.iter().filter(|(answer, _)| answer.is_ok()).count();
    let told_to_wait = answers.iter().filter(|(answer, _)| answer.as_ref().is_err_and(told_to_wait)).count();
    report::figure("let in, told when to come again, in", format!("{let_in}, {told_to_wait}, {took:.1?}"));
    report.bar(
        "everybody is let in or told when to come again",
        let_in + told_to_wait,
        let_in + told_to_wait == AT_ONCE,
    );
    let grown = peak.saturating_sub(before);
    // What a thousand connections and requests take beside the hashing.
    let bound = RUNS * RUN + 32 * 1024 * 1024;
    let shown = format!("{} of {} MiB", grown >> 20, bound >> 20);
    report.bar("memory that identity grew by: 2 runs and what requests take", shown, grown <= bound);
    report::figure("other calls before", &quiet);
    report::figure("other calls meanwhile", &busy);
    let ratio = busy.within(99).as_secs_f64() / quiet.within(99).as_secs_f64();
    report.bar("p99 of other calls grows by: less than 2", format!("{ratio:.2}"), ratio < 2.0);
    Ok(())
}

/// HTTP/2 connections carry about a hundred calls each.
async fn doors(scene: &Scene) -> Result<Vec<Door>, Failure> {
    let opened = join_all((0..10).map(|_| Door::open(scene.installation.gateway()))).await;
    opened.into_iter().collect()
}

/// Calls one after the other while `meanwhile` goes on; what that gave, and how long they took.
async fn others<T>(owner: &Person, team: &Team, meanwhile: impl Future<Output = T>) -> Result<(T, Spread), Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let (owner, team_id, until) = (owner.clone(), team.id.clone(), over.clone());
    let calls = tokio::spawn(async move {
        let mut times = Vec::new();
        while !until.load(Ordering::Relaxed) {
            let begun = Instant::now();
            TeamServiceClient::new(owner.way()).get_team(GetTeamRequest { team_id: team_id.clone() }).await?;
            times.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok::<_, Status>(Spread::of(times))
    });
    let gave = meanwhile.await;
    over.store(true, Ordering::Relaxed);
    Ok((gave, calls.await??))
}

/// The four that must not be told apart.
async fn refusals(scene: &Scene, owner: &Person, team: &Team) -> Result<(), Failure> {
    report::part(&format!("sign-in: refusals that must look alike, {TRIES} tries each in turn"));
    let invited = cast::invite(owner, team).await?;
    let deactivated = scene.colleague(owner, team).await?;
    let request = DeactivateUserRequest { request_id: request_id(), user_id: deactivated.user.id.clone() };
    UserServiceClient::new(owner.way()).deactivate_user(request).await?;
    let unknown = format!("nobody@{}.example", &request_id()[24..]);
    let kinds = [
        ("unknown address", unknown, PASSWORD),
        ("invited", invited, PASSWORD),
        ("deactivated, right password", deactivated.user.email, PASSWORD),
        ("wrong password", owner.user.email.clone(), "not his password at all"),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    for _ in 0..TRIES {
        for (times, (_, email, password)) in times.iter_mut().zip(&kinds) {
            let (answer, time) = sign_in(&scene.door, email, password).await;
            if answer.is_ok() {
                return Err("somebody was let in".into());
            }
            times.push(time);
        }
    }
    for (times, (kind, ..)) in times.into_iter().zip(&kinds) {
        report::figure(kind, Spread::of(times));
    }
    Ok(())
}

async fn sign_in(door: &Door, email: &str, password: &str) -> (Result<(), Status>, Duration) {
    let request = SignInRequest { email: email.to_owned(), password: password.to_owned(), ..SignInRequest::default() };
    let begun = Instant::now();
    let answer = SessionServiceClient::new(door.way()).sign_in(request).await.map(|_| ());
    (answer, begun.elapsed())
}

fn told_to_wait(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) && status.get_details_retry_info().is_some()
}
