//! SimulationService: the routing replayed over a past period. Nothing is written: the history is read in a snapshot that is read-only,
//! the decisions, which never change, page by page, without those that were committed after it.

mod request;
mod response;
mod running;

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
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use self::{request::Asked, running::Permit};
use super::Api;
use crate::{
    Error,
    app::App,
    domain::simulation::{Outcome, Plan, REACTION, Replay},
    store::{checker, explanations::Kept, presence, replays, teams, users},
};

pub use self::running::Running;

/// The most teams of one simulation.
const TEAMS: usize = 50;
/// Decisions that are read at a time: the largest take 40 kB.
const PAGE: i64 = 200;
/// Pages that are read ahead.
const AHEAD: usize = 2;
/// Responses that wait for a client which reads slowly.
const BUFFER: usize = 16;
/// For how long a client may leave the responses unread: others wait for its place.
const READS: Duration = Duration::from_secs(30);
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
        let permit = self.0.simulations.begin(account)?;
        resolve(&self.0, account, &mut asked).await?;
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
    for (team, _) in &asked.teams {
        teams::find(tx, account, *team).await?.ok_or(Error::TeamNotFound)?;
    }
    users::require_all_known(tx, account, &asked.users()).await?;
    if asked.teams.is_empty() {
        let all = replays::teams(tx, account, i64::try_from(TEAMS).unwrap_or(i64::MAX)).await?;
        asked.teams = all.into_iter().map(|team| (team, Plan::default())).collect();
    }
    Ok(())
}

/// Replays team after team until all are, the client goes, or the process drains.
async fn run(app: Arc<App>, account: Uuid, asked: Asked, (out, permit): (Out, Permit)) {
    let outcome = tokio::select! {
        biased;
        () = app.drain.begun() => Err(Error::Interrupted),
        () = out.closed() => return,
        outcome = replay_all(&app, account, asked, &out) => outcome,
    };
    drop(permit);
    if let Err(error) = outcome {
        // The last word waits for a client that reads slowly, but not for ever: it is gone, or the process drains.
        tokio::select! {
            () = app.drain.begun() => {}
            _ = out.send(Err(error.into())) => {}
        }
    }
}

/// Says something to a client that reads.
///
/// # Errors
/// [`Error::Interrupted`]: it does not, or is gone.
async fn say(out: &Out, words: SimulateRoutingResponse) -> Result<(), Error> {
    say_within(READS, out, words).await
}

async fn say_within(limit: Duration, out: &Out, words: SimulateRoutingResponse) -> Result<(), Error> {
    match timeout(limit, out.send(Ok(words))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::Interrupted),
    }
}

async fn replay_all(app: &App, account: Uuid, asked: Asked, out: &Out) -> Result<(), Error> {
    let total = asked.teams.len();
    for (done, (team, plan)) in asked.teams.into_iter().enumerate() {
        let run = Run { app, of: (account, team), period: asked.period, out, count: (done, total) };
        let outcome = run.replay(plan).await?;
        for words in response::of_team(team, &outcome) {
            say(out, words).await?;
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
        let latest = replays::latest(&mut snapshot, self.of, to).await?;
        drop(snapshot);
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let replay = Replay::new(plan, history, from, (REACTION, stop.0.clone()));
        let (pages, feed) = mpsc::channel(AHEAD);
        let (said, heard) = watch::channel((from, 0));
        let mut computed = tokio::task::spawn_blocking(move || compute(replay, feed, &said, to));
        let feeding = self.feed((anchor, to), (begins, latest), pages);
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
        (begins, latest): (Option<Timestamp>, replays::Latest),
        pages: mpsc::Sender<Vec<Kept>>,
    ) -> Result<(), Error> {
        let mut last = None;
        loop {
            let mut page = replays::decisions(self.app.database.pool(), self.of, period, last, PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            // What was decided before the history began to be written cannot be replayed.
            if page.first().zip(begins).is_none_or(|(first, begins)| first.at < begins) {
                return Err(Error::PeriodNotKept);
            }
            last = Some((end.at, end.id));
            page.retain(|kept| latest.has(kept));
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
            if let Err(error) = say(self.out, words).await {
                return error;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_ends_what_it_asked_for() {
        let (out, mut responses) = mpsc::channel(1);
        let limit = Duration::from_millis(50);
        let words = SimulateRoutingResponse::default;
        say_within(limit, &out, words()).await.unwrap();
        let refused = say_within(limit, &out, words()).await.unwrap_err();
        assert!(matches!(refused, Error::Interrupted), "{refused:?}");
        responses.recv().await.unwrap().unwrap();
        say_within(limit, &out, words()).await.unwrap();
    }
}
