//! A thousand people who sign in at once, what everybody else notices of it, and the time that each kind of refusal takes.
//!
//! The thousand come from a process of its own ([`crowd`]): in the process and runtime of the calls whose times are taken, these would
//! wait for the thousand clients, too, and not for the server alone. The other calls go out one every two milliseconds whether or not
//! those before are answered, so that a pause of the server counts in each call that falls into it. Whoever is turned away comes again when he
//! was told to, as a client does, and it is over when all are in. It is all repeated, quiet and rush in turn: a machine changes with time.

pub(crate) mod crowd;

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
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    cast::{self, PASSWORD, Scene},
    copies::Copies,
    cpu,
    report::{self, Report},
    spread::Spread,
};
use crowd::{AT_ONCE, Crowd, Outcome};

const ROUNDS: usize = 2;
/// Of argon2id as identity runs it, in bytes.
const RUN: u64 = 19 * 1024 * 1024;
const TRIES: usize = 60;
/// Between two of the other calls.
const PACE: Duration = Duration::from_millis(2);
const QUIET: Duration = Duration::from_secs(10);
/// After a rush its sessions go into the audit log.
const REST: Duration = Duration::from_secs(2);
/// What is the beginning of a rush.
const FIRST: Duration = Duration::from_secs(1);

/// Measures all three.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part(&format!(
        "sign-in: a thousand at once who come again when they are told to, until all are in; {ROUNDS} times"
    ));
    let many = u16::MAX.to_string();
    let scene =
        Scene::start(&[("DIWAN_IDENTITY_FAILURES_PER_IP", &many), ("DIWAN_IDENTITY_FAILURES_PER_ADDRESS", &many)])
            .await?;
    let owner = scene.owner().await?;
    let team = cast::team(&owner).await?;
    scene.hire(&owner, &team).await?;
    Copies::of_the_agent(&scene, &owner, AT_ONCE).await?.sign_in(&scene).await?;
    rush(report, &scene, &owner, &team).await?;
    refusals(&scene, &owner, &team).await?;
    scene.end().await
}

async fn rush(report: &mut Report, scene: &Scene, owner: &Person, team: &Team) -> Result<(), Failure> {
    let identity = scene.pid("identity")?;
    let (before, _) = cpu::memory(identity)?;
    let (mut quiet, mut busy, mut first, mut let_in) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let crowd = Crowd::gather(scene.installation.gateway()).await?;
        sleep(REST).await;
        quiet.extend(others(owner, team, sleep(QUIET)).await?.1.into_iter().map(|(_, time)| time));
        let begun = Instant::now();
        let (outcome, times) = others(owner, team, crowd.goes()).await?;
        let outcome = outcome?;
        say(outcome, begun.elapsed());
        let_in += outcome.let_in;
        first.extend(times.iter().filter(|(at, _)| at.duration_since(begun) < FIRST).map(|(_, time)| *time));
        busy.extend(times.into_iter().map(|(_, time)| time));
    }
    let (_, peak) = cpu::memory(identity)?;
    let everybody = let_in == ROUNDS * AT_ONCE;
    report.bar("everybody is let in, at once or after having been told when to come again", let_in, everybody);
    let grown = peak.saturating_sub(before);
    // What a thousand connections and requests take beside the hashing.
    let runs = runs()?;
    let bound = runs * RUN + 32 * 1024 * 1024;
    let shown = format!("{} of {} MiB", grown >> 20, bound >> 20);
    let bar = format!("memory that identity grew by: runs at once ({runs}) and what requests take");
    report.bar(&bar, shown, grown <= bound);
    report::figure("other calls within the first second of a rush", Spread::of(first));
    undisturbed(report, quiet, busy);
    Ok(())
}

fn say(Outcome { sent, at_once, told, times, let_in }: Outcome, took: Duration) {
    let who =
        format!("{AT_ONCE} sent within {sent:.1?}; {at_once} in at once; the others told when to come again within");
    report::figure(&who, format!("{told:.1?}"));
    report::figure(&format!("{let_in} in, told {times} times; all within"), format!("{took:.1?}"));
}

fn undisturbed(report: &mut Report, quiet: Vec<Duration>, busy: Vec<Duration>) {
    let (of_quiet, of_busy) = (quiet.len(), busy.len());
    let (quiet, busy) = (Spread::of(quiet), Spread::of(busy));
    report::figure(&format!("other calls before, {of_quiet}"), &quiet);
    report::figure(&format!("other calls meanwhile, {of_busy}"), &busy);
    let ratio = busy.within(99).as_secs_f64() / quiet.within(99).as_secs_f64();
    report.bar("p99 of other calls grows by: less than 2", format!("{ratio:.2}"), ratio < 2.0);
}

/// How many passwords identity hashes at a time if it is not told otherwise: one for two cores.
fn runs() -> Result<u64, Failure> {
    Ok(u64::try_from(std::thread::available_parallelism()?.get())?.div_euclid(2).max(1))
}

/// Calls at a steady pace while `meanwhile` goes on; what that gave, when each was made and how long it took.
async fn others<T>(
    owner: &Person,
    team: &Team,
    meanwhile: impl Future<Output = T>,
) -> Result<(T, Vec<(Instant, Duration)>), Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let (owner, team_id, until) = (owner.clone(), team.id.clone(), over.clone());
    let calls = tokio::spawn(async move {
        let (mut calls, mut pace) = (JoinSet::new(), interval(PACE));
        while !until.load(Ordering::Relaxed) {
            pace.tick().await;
            calls.spawn(get(owner.clone(), team_id.clone()));
        }
        calls.join_all().await.into_iter().collect::<Result<Vec<_>, Status>>()
    });
    let gave = meanwhile.await;
    over.store(true, Ordering::Relaxed);
    Ok((gave, calls.await??))
}

async fn get(person: Person, team_id: String) -> Result<(Instant, Duration), Status> {
    let begun = Instant::now();
    let answer = TeamServiceClient::new(person.way()).get_team(GetTeamRequest { team_id }).await;
    match answer {
        Ok(_) => Ok((begun, begun.elapsed())),
        // Whoever is told to come again has to wait so much longer.
        Err(refusal) => Ok((begun, begun.elapsed() + pause(&refusal).ok_or(refusal)?)),
    }
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

/// How long somebody is to wait who is turned away for now.
fn told_to_wait(status: &Status) -> Option<Duration> {
    let turned_away = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable);
    pause(status).filter(|_| turned_away)
}

/// How long a refusal says to wait.
fn pause(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}
