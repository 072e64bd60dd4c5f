//! SimulationService: the routing replayed over a past period. Nothing is written: the history is read in a snapshot that is read-only,
//! the decisions, which never change, page by page.

mod request;
mod response;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_access::user;
use diwan_proto::conversation::v1::{
    SimulateRoutingRequest, SimulateRoutingResponse, simulation_service_server::SimulationService,
};
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use self::request::Asked;
use super::Api;
use crate::{
    Error,
    app::App,
    domain::simulation::{Outcome, Plan, REACTION, Replay},
    store::{checker, explanations::Kept, presence, replays, teams, users},
};

/// How many run in one process at a time: each takes a core and some tens of megabytes.
pub const AT_A_TIME: usize = 2;
/// The most teams of one simulation.
const TEAMS: usize = 50;
/// Decisions that are read at a time: the largest take 40 kB.
const PAGE: i64 = 200;
/// Pages that are read ahead.
const AHEAD: usize = 2;
/// Responses that wait for a client which reads slowly.
const BUFFER: usize = 16;
/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

type Out = mpsc::Sender<Result<SimulateRoutingResponse, Status>>;

#[tonic::async_trait]
impl SimulationService for Api {
    type SimulateRoutingStream = ReceiverStream<Result<SimulateRoutingResponse, Status>>;

    async fn simulate_routing(
        &self,
        request: Request<SimulateRoutingRequest>,
    ) -> Result<Response<Self::SimulateRoutingStream>, Status> {
        let account = user(&request)?.account_id;
        let now = self.0.clock.now();
        let mut asked = request::read(request.get_ref(), now)?;
        if asked.period.0 < presence::before(now, self.0.settings.ledger_kept) {
            return Err(Error::PeriodNotKept.into());
        }
        resolve(&self.0, account, &mut asked).await?;
        let permit = self.0.simulations.clone().try_acquire_owned().map_err(|_| Error::TooManySimulations)?;
        let (out, responses) = mpsc::channel(BUFFER);
        self.0.drain.spawn(run(self.0.clone(), account, asked, (out, permit)));
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// Finds what is named, or every team where none is.
async fn resolve(app: &App, account: Uuid, asked: &mut Asked) -> Result<(), Error> {
    let tx = &mut *app.database.pool().acquire().await?;
    for (team, schedule) in std::mem::take(&mut asked.hours) {
        let zone = replays::zone(tx, (account, team)).await?.unwrap_or_else(|| "UTC".to_owned());
        asked.set_hours(team, schedule, &zone);
    }
    for (team, plan) in &asked.teams {
        teams::find(tx, account, *team).await?.ok_or(Error::TeamNotFound)?;
        for user in plan.removed.iter().chain(plan.added.iter().map(|(user, _)| user)) {
            users::require_known(tx, account, *user).await?;
        }
    }
    if asked.teams.is_empty() {
        let all = replays::teams(tx, account, i64::try_from(TEAMS).unwrap_or(i64::MAX)).await?;
        asked.teams = all.into_iter().map(|team| (team, Plan::default())).collect();
    }
    Ok(())
}

/// Replays team after team until all are, the client goes, or the process drains.
async fn run(app: Arc<App>, account: Uuid, asked: Asked, (out, permit): (Out, OwnedSemaphorePermit)) {
    let outcome = tokio::select! {
        biased;
        () = app.drain.begun() => Err(Error::Interrupted),
        () = out.closed() => return,
        outcome = replay_all(&app, account, asked, &out) => outcome,
    };
    if let Err(error) = outcome {
        // The last word waits for a client that reads slowly, but not for ever: it is gone, or the process drains.
        tokio::select! {
            () = app.drain.begun() => {}
            _ = out.send(Err(error.into())) => {}
        }
    }
    drop(permit);
}

async fn replay_all(app: &App, account: Uuid, asked: Asked, out: &Out) -> Result<(), Error> {
    let total = asked.teams.len();
    for (done, (team, plan)) in asked.teams.into_iter().enumerate() {
        let run = Run { app, of: (account, team), period: asked.period, out, count: (done, total) };
        let outcome = run.replay(plan).await?;
        for words in response::of_team(team, &outcome) {
            if out.send(Ok(words)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whoever computes stops when nobody wants to know any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The replay of one team.
struct Run<'a> {
    app: &'a App,
    of: replays::Of,
    period: (Timestamp, Timestamp),
    out: &'a Out,
    count: (usize, usize),
}

impl Run<'_> {
    async fn replay(&self, plan: Plan) -> Result<Outcome, Error> {
        let (from, to) = self.period;
        let pool = self.app.database.pool();
        let mut snapshot = checker::snapshot(pool).await?;
        let anchor = replays::anchor(&mut snapshot, self.of, from).await?;
        let others: Vec<Uuid> = plan.added.iter().map(|(user, _)| *user).collect();
        let history = replays::history(&mut snapshot, self.of, (anchor, to), &others).await?;
        let begins = replays::begins(&mut snapshot, self.of).await?;
        drop(snapshot);
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let replay = Replay::new(plan, history, from, (REACTION, stop.0.clone()));
        let (pages, feed) = mpsc::channel(AHEAD);
        let (said, heard) = watch::channel((from, 0));
        let mut computed = tokio::task::spawn_blocking(move || compute(replay, feed, &said, to));
        let feeding = self.feed((anchor, to), begins, pages);
        let outcome = tokio::select! {
            outcome = async { feeding.await?; wait(&mut computed).await } => outcome,
            error = self.tell(heard) => Err(error),
        };
        drop(stop);
        outcome
    }

    /// Feeds the decisions, page by page.
    async fn feed(
        &self,
        period: (Timestamp, Timestamp),
        begins: Option<Timestamp>,
        pages: mpsc::Sender<Vec<Kept>>,
    ) -> Result<(), Error> {
        let mut last = None;
        loop {
            let page = replays::decisions(self.app.database.pool(), self.of, period, last, PAGE).await?;
            let Some(latest) = page.last() else { return Ok(()) };
            // What was decided before the history began to be written cannot be replayed.
            if page.first().zip(begins).is_none_or(|(first, begins)| first.at < begins) {
                return Err(Error::PeriodNotKept);
            }
            last = Some((latest.at, latest.id));
            // It goes away only when it has been told to stop.
            if pages.send(page).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Says how far it is, for as long as it is computed. Returns only if it cannot.
    async fn tell(&self, heard: watch::Receiver<(Timestamp, i64)>) -> Error {
        loop {
            tokio::time::sleep(PROGRESS).await;
            let (until, decisions) = *heard.borrow();
            let words = response::progress(self.of.1, self.count, until.clamp(self.period.0, self.period.1), decisions);
            if self.out.send(Ok(words)).await.is_err() {
                return Error::Interrupted;
            }
        }
    }
}

/// Computes on a thread of its own: a page can take long.
fn compute(
    mut replay: Replay,
    mut feed: mpsc::Receiver<Vec<Kept>>,
    said: &watch::Sender<(Timestamp, i64)>,
    to: Timestamp,
) -> Outcome {
    while let Some(page) = feed.blocking_recv() {
        for kept in page {
            replay.decided((kept.id, kept.at), kept.kind, &kept.entry);
        }
        said.send_replace((replay.now(), replay.decisions()));
    }
    replay.finish(to)
}

async fn wait(computed: &mut JoinHandle<Outcome>) -> Result<Outcome, Error> {
    computed.await.map_err(|_| Error::Interrupted)
}
