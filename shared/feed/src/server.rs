//! Serving a service's events to the others.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use diwan_fault::{Code, Fault, Fields};
use diwan_proto::feed::v1::{
    WatchEventsRequest, WatchEventsResponse,
    feed_service_server::{FeedService, FeedServiceServer},
};
use diwan_runtime::{Clock, Drain, backoff::Backoff};
use diwan_store::{Database, Error, Woken, wake};
use futures::{Stream, stream};
use jiff::Timestamp;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    Position, generation,
    read::{Batch, Look, look},
    time,
};

/// The longest silence on a stream. The protocol promises five seconds.
const HEARTBEAT: Duration = Duration::from_millis(4500);
/// How old another stream's look may be that found nothing, for a heartbeat: a service has a dozen streams, and in most seconds nothing
/// happens.
const SHARED: Duration = Duration::from_secs(4);
/// How soon to look again for events that wait for an older transaction: its end rings no bell.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// How soon a stream looks again, so that load makes batches, not looks: an event is late by no more than this.
const PACE: Duration = Duration::from_millis(5);
/// How often a stream of one account looks at most.
const REST: Duration = Duration::from_millis(50);
const LATEST_LOOK: Duration = Duration::from_millis(100);

/// The feed of one service.
#[derive(Clone, Debug)]
pub struct FeedServer {
    database: Database,
    clock: Arc<dyn Clock>,
    drain: Drain,
    turns: Arc<Mutex<HashMap<Option<Uuid>, Weak<Turn>>>>,
}

/// The streams of one account, and those of all accounts, look in turn, so that of those that wake together one looks and the others
/// learn from it: who may open hundreds loads the database as with one.
type Turn = tokio::sync::Mutex<Option<Seen>>;

/// What the last look found.
#[derive(Debug)]
struct Seen {
    after: Position,
    begun: Instant,
    /// Whatever was committed by then, the look saw.
    as_of: Timestamp,
    /// Without events in a turn of one account: there are many accounts, and a batch can be large.
    batch: Batch,
}

impl Seen {
    /// Whether it is what a stream at `position` would find that wants to know of everything until `since`. What follows a position
    /// follows it for ever; that nothing does may change.
    fn serves(&self, position: Position, since: Option<Instant>) -> bool {
        // The beginning has no generation: what followed it may be of an older one.
        let lasts = !self.batch.events.is_empty() && position != Position::START;
        self.after == position && (lasts || since.is_some_and(|since| self.begun >= since))
    }
}

impl FeedServer {
    /// Serves the feed of `database`; its streams end when `drain` begins.
    pub fn new(database: Database, clock: Arc<dyn Clock>, drain: Drain) -> Self {
        Self { database, clock, drain, turns: Arc::default() }
    }

    fn turn(&self, account: Option<Uuid>) -> Arc<Turn> {
        let mut turns = lock(&self.turns);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&account).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(account, Arc::downgrade(&turn));
        turn
    }

    /// As a service for tonic's router.
    pub fn into_service(self) -> FeedServiceServer<Self> {
        FeedServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl FeedService for FeedServer {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.optional_uuid("account_id", &message.account_id);
        fields.finish()?;
        let watch = Watch {
            woken: self.database.wake().subscribe(wake::COMMITTED),
            feed: self.clone(),
            account,
            turn: self.turn(account),
            position: Position::from_request(message.after),
            sent: None,
            looked: None,
            behind: false,
            withheld: false,
            said: Timestamp::MIN,
            impatience: Backoff::new(FIRST_LOOK, LATEST_LOOK),
        };
        Ok(Response::new(Box::pin(stream::try_unfold(watch, Watch::next))))
    }
}

/// One consumer's stream.
struct Watch {
    feed: FeedServer,
    /// The account whose events it is about; `None`: all.
    account: Option<Uuid>,
    turn: Arc<Turn>,
    woken: Woken,
    position: Position,
    sent: Option<Instant>,
    /// When it looked last; `None`: there is more to read at once.
    looked: Option<Instant>,
    /// Whether there was more to read at once. Then it does not keep the others waiting.
    behind: bool,
    /// Whether events wait for an older transaction.
    withheld: bool,
    /// Up to when the stream was said to be complete.
    said: Timestamp,
    impatience: Backoff,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(WatchEventsResponse, Self)>, Status> {
        while !self.feed.drain.has_begun() {
            let since = self.wait().await;
            self.pace().await;
            let (batch, as_of) = self.look_in_turn(since).await?;
            (self.behind, self.withheld) = (batch.more, batch.withheld.is_some());
            if !batch.events.is_empty() || self.heartbeat_in().is_zero() {
                return Ok(Some((self.respond(batch, as_of), self)));
            }
        }
        Ok(None)
    }

    /// Until there may be something, or a heartbeat is due. Since when the look must have begun that says so; `None`: its own first
    /// look says whether its position is one.
    async fn wait(&mut self) -> Option<Instant> {
        self.sent?;
        if self.behind {
            return Some(Instant::now());
        }
        let heartbeat = self.heartbeat_in();
        let pause = if self.withheld { heartbeat.min(self.impatience.next_delay()) } else { heartbeat };
        let rung = self.feed.drain.unless_begun(self.woken.within(pause)).await.unwrap_or(true);
        let now = Instant::now();
        if self.account.is_some() {
            // Of those there are many, and most of what is committed is none of theirs.
            self.feed.drain.unless_begun(tokio::time::sleep(REST)).await;
        }
        if rung || self.withheld { Some(now) } else { now.checked_sub(SHARED) }
    }

    /// What there is, and as of when: by a look of its own, or by one that another stream has begun at the same position `since`.
    async fn look_in_turn(&self, since: Option<Instant>) -> Result<(Batch, Timestamp), Fault> {
        let turn = if self.behind { Arc::default() } else { self.turn.clone() };
        let mut last = turn.lock().await;
        let news = last.as_ref().filter(|seen| seen.serves(self.position, since) && seen.as_of > self.said);
        if let Some(Seen { batch, as_of, .. }) = news {
            return Ok((batch.clone(), *as_of));
        }
        // A look that fails says that what was seen may hold no more.
        *last = None;
        // Taken before the look: whatever was committed by now, the look sees.
        let (begun, as_of) = (Instant::now(), self.feed.clock.now());
        let batch = self.look().await?;
        let kept = self.account.is_none() || (batch.events.is_empty() && !batch.more);
        *last = kept.then(|| Seen { after: self.position, begun, as_of, batch: batch.clone() });
        Ok((batch, as_of))
    }

    async fn look(&self) -> Result<Batch, Fault> {
        let pool = self.feed.database.pool();
        loop {
            match look(pool, self.position, self.account).await.map_err(Error::from)? {
                Look::Next(batch) => return Ok(batch),
                // Cursors for one account come from outside: a made-up one must not look like a rewound database.
                Look::Rewound if self.account.is_some() => return Err(Fault::new(Code::OutOfRange, "CURSOR_GONE")),
                Look::Gone => return Err(Fault::new(Code::OutOfRange, "CURSOR_GONE")),
                Look::NoGeneration => generation::ensure_generation(pool).await?,
                Look::Rewound => generation::raise(pool, self.position.generation).await?,
            }
        }
    }

    async fn pace(&mut self) {
        let early = self.looked.map_or(Duration::ZERO, |looked| PACE.saturating_sub(looked.elapsed()));
        if !early.is_zero() {
            self.feed.drain.unless_begun(tokio::time::sleep(early)).await;
        }
        self.looked = Some(Instant::now());
    }

    fn respond(&mut self, batch: Batch, as_of: Timestamp) -> WatchEventsResponse {
        if batch.more {
            self.looked = None;
        }
        self.sent = Some(Instant::now());
        if let Some(last) = batch.events.last().and_then(|event| event.cursor) {
            self.position = last.into();
            self.impatience.reset();
        }
        // What is withheld was committed after it happened. With more to send, nothing can be said yet.
        let complete = batch.withheld.map_or(as_of, |withheld| withheld.min(as_of));
        self.said = complete;
        let complete_until = (!batch.more).then(|| time::to_proto(complete));
        WatchEventsResponse { events: batch.events, complete_until }
    }

    fn heartbeat_in(&self) -> Duration {
        self.sent.map_or(Duration::ZERO, |sent| HEARTBEAT.saturating_sub(sent.elapsed()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
