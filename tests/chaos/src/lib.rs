//! Routing under chaos: several replicas of the conversation service on one PostgreSQL, many clients that do everything that chapters
//! 2 to 5 know in random order, replicas killed with SIGKILL every few seconds, PostgreSQL crashed once. Afterwards everything is
//! recounted: by plain SQL, by the service's own checker, and against what the clients were told.
//!
//! - `stage` is the installation and everybody in it; `operation` chooses what a client does, `customers`, `handling` and
//!   `management`, `rules`, `leads` and `bots` do it, `call` repeats it until its outcome is known, `book` notes what was told.
//! - `desk` keeps people there, `director` kills, `watch` looks on.
//! - `settle` lets everything end, `audit` and `copies` find what is wrong.

mod audit;
mod board;
mod book;
mod bots;
mod call;
mod copies;
mod customers;
mod desk;
mod director;
mod handling;
mod leads;
mod management;
mod operation;
mod person;
mod rules;
mod settle;
mod stage;
mod tally;
mod watch;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use diwan_e2e::Failure;
use futures::future::try_join_all;
use tokio::time::{sleep, timeout};

use crate::{
    stage::{Processes, Stage},
    tally::Counts,
    watch::Looks,
};

/// How long a stage of the run may take that has no limit of its own.
const BEGINNING: Duration = Duration::from_mins(1);

/// How much chaos.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the conversation service.
    pub replicas: usize,
    /// Clients at work at the same time.
    pub clients: u64,
    /// Operations of all clients together, at least.
    pub operations: usize,
    /// Agents.
    pub agents: usize,
    /// Teams, the fallback team included.
    pub teams: usize,
    /// The pause between two kills, give or take half of it.
    pub kill_every: Duration,
    /// Kills, at least: the clients go on until then.
    pub kills: usize,
    /// What is chosen follows from it.
    pub seed: u64,
    /// After so long the run has failed.
    pub limit: Duration,
    /// So often something may be tried that never succeeds.
    pub futile: u64,
    /// Causes of transitions that must not be missing in the end.
    pub causes: &'static [&'static str],
}

/// Everything by which state, team or holder of a conversation change.
const CAUSES: [&str; 19] = [
    "ARRIVAL",
    "AUTOMATIC",
    "TAKEN",
    "CLOSED",
    "REOPENED",
    "HOLDER_DEACTIVATED",
    "HOLDER_REMOVED",
    "ASSIGNED",
    "HANDED_OVER",
    "REASSIGNED",
    "SNOOZED",
    "WOKEN",
    "STICKY_OWNER",
    "TEAM_ARCHIVED",
    "BOT_HANDED_OVER",
    "BOT_FAILED",
    "CUSTOMER_SILENT",
    "HOLDER_OFFLINE",
    "NO_ANSWER",
];

impl Plan {
    /// What every run of the tests can afford.
    pub fn short(seed: u64) -> Self {
        Self {
            replicas: 2,
            clients: 16,
            operations: 5_000,
            agents: 8,
            teams: 4,
            kill_every: Duration::from_secs(8),
            kills: 3,
            seed,
            limit: Duration::from_mins(8),
            futile: 20,
            causes: &["ARRIVAL", "AUTOMATIC", "REOPENED", "WOKEN", "BOT_HANDED_OVER"],
        }
    }

    /// The whole of it.
    pub fn long(seed: u64) -> Self {
        Self {
            replicas: 4,
            clients: 64,
            operations: 200_000,
            agents: 24,
            teams: 7,
            kill_every: Duration::from_secs(4),
            kills: 50,
            seed,
            limit: Duration::from_mins(90),
            futile: 0,
            causes: &CAUSES,
        }
    }

    /// With so many operations: whether everything happens in them is left open.
    #[must_use]
    pub fn of(self, operations: usize) -> Self {
        Self { operations, futile: 20, causes: &[], ..self }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What goes on.
    pub what: &'static str,
    /// Operations done.
    pub done: usize,
    /// Replicas killed.
    pub kills: usize,
    /// Crashes of PostgreSQL.
    pub crashes: usize,
}

/// What a run led to.
#[derive(Debug)]
pub struct Summary {
    /// Operations by kind and outcome.
    pub operations: Counts,
    /// Transitions by their cause.
    pub causes: BTreeMap<String, i64>,
    /// Why calls had to be repeated, and how often.
    pub repeats: BTreeMap<String, u64>,
    /// Replicas killed.
    pub kills: usize,
    /// Crashes of PostgreSQL.
    pub crashes: usize,
    /// How often was looked while everything went on.
    pub looks: usize,
    /// How long the operations took.
    pub took: Duration,
    /// Everything that is wrong.
    pub violations: Vec<String>,
    /// The files of the installation: databases and logs. They stay where something is wrong.
    pub kept: Option<PathBuf>,
}

/// Runs a plan. `show` is told now and then where it stands. The files of the installation are gone afterwards, unless something is
/// wrong.
///
/// # Errors
/// When the installation does not start, a call finds no end, or the plan's limit is over. Its text says where the files are.
pub async fn run(plan: &Plan, show: impl Fn(Progress) + Sync) -> Result<Summary, Failure> {
    let home = tempfile::Builder::new().prefix("diwan-chaos-").tempdir()?;
    let ran = timeout(plan.limit, perform(plan, home.path(), &show)).await;
    match ran.unwrap_or_else(|_| Err(format!("not over within {:?}", plan.limit).into())) {
        Ok(summary) if summary.violations.is_empty() => {
            home.close()?;
            Ok(summary)
        }
        Ok(summary) => Ok(Summary { kept: Some(home.keep()), ..summary }),
        Err(error) => Err(format!("{error}; its files are in {}", home.keep().display()).into()),
    }
}

async fn perform(plan: &Plan, home: &Path, show: &(impl Fn(Progress) + Sync)) -> Result<Summary, Failure> {
    show(Progress { what: "starting", done: 0, kills: 0, crashes: 0 });
    let mut processes = stage::start(plan, home).await?;
    let stage = Arc::new(Stage::set(plan, &processes).await?);
    let pool = watch::open(processes.installation.database_url("conversation")).await?;
    watch::set(&pool).await?;
    let mut desks = desk::open(&stage);
    timeout(BEGINNING, overseen(&stage)).await.map_err(|_| "the owner's stream does not stand")?;
    let begun = Instant::now();
    let looks = operate(&mut processes, &stage, plan, &pool, show).await?;
    let took = begun.elapsed();
    let mut violations = end(&stage, &processes, &pool, show).await?;
    show(stage.progress("going home"));
    desks.shutdown().await;
    violations.extend(settle::vanish(&pool).await?);
    let causes = causes(&pool).await?;
    violations.extend(missing(plan, &stage, &causes, &looks));
    pool.close().await;
    // Whoever runs on would write into the folder while it is removed.
    violations.extend(processes.installation.stop().await.err().map(|error| format!("its end: {error}")));
    Ok(Summary {
        operations: stage.tally.operations(),
        causes,
        repeats: stage.tally.repeats(),
        kills: stage.kills.load(Ordering::SeqCst),
        crashes: stage.crashes.load(Ordering::SeqCst),
        looks: looks.count,
        took,
        violations,
        kept: None,
    })
}

/// The operations, while replicas are killed and somebody looks on.
async fn operate(
    processes: &mut Processes,
    stage: &Arc<Stage>,
    plan: &Plan,
    pool: &sqlx::PgPool,
    show: &(impl Fn(Progress) + Sync),
) -> Result<Looks, Failure> {
    let (worked, disturbed, looks, ()) =
        tokio::join!(work(stage, plan), processes.disturb(stage, plan), watch::look(stage, pool), report(stage, show));
    worked?;
    disturbed?;
    Ok(looks)
}

/// What never happened, and what was seen while everything went on.
fn missing(plan: &Plan, stage: &Stage, causes: &BTreeMap<String, i64>, looks: &Looks) -> Vec<String> {
    let mut missing = stage.tally.never_done(plan.futile);
    let absent = plan.causes.iter().filter(|cause| !causes.contains_key(**cause));
    missing.extend(absent.map(|cause| format!("nothing changed by {cause}")));
    if looks.homeless > 0 {
        missing
            .push(format!("{} of {} looks found a conversation without an active team", looks.homeless, looks.count));
    }
    missing
}

/// Lets everything end, and finds what is wrong.
async fn end(
    stage: &Stage,
    processes: &Processes,
    pool: &sqlx::PgPool,
    show: &(impl Fn(Progress) + Sync),
) -> Result<Vec<String>, Failure> {
    show(stage.progress("settling"));
    let mut found = stage.settle(pool).await?;
    show(stage.progress("draining"));
    found.extend(stage.drain(pool).await?);
    show(stage.progress("auditing"));
    found.extend(copies::compare(processes, pool).await?);
    found.extend(stage.audit(pool).await?);
    Ok(found)
}

async fn causes(pool: &sqlx::PgPool) -> Result<BTreeMap<String, i64>, Failure> {
    let counted = sqlx::query_as::<_, (String, i64)>("select cause, count(*) from transitions group by cause");
    Ok(counted.fetch_all(pool).await?.into_iter().collect())
}

/// All clients, until they are done.
async fn work(stage: &Arc<Stage>, plan: &Plan) -> Result<(), Failure> {
    let clients = (0..plan.clients).map(|client| {
        let (stage, plan) = (stage.clone(), plan.clone());
        async move { tokio::spawn(async move { operation::work(&stage, &plan, client).await }).await? }
    });
    let worked = try_join_all(clients).await;
    stage.over.store(true, Ordering::SeqCst);
    worked.map(drop)
}

async fn overseen(stage: &Stage) {
    while !stage.overseen.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn report(stage: &Stage, show: &(impl Fn(Progress) + Sync)) {
    while !stage.over.load(Ordering::SeqCst) {
        show(stage.progress("operations"));
        sleep(Duration::from_millis(500)).await;
    }
}
