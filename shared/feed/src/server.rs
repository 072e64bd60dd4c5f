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

/// The longest silence on a stream. The protocol promises a second.
const HEARTBEAT: Duration = Duration::from_millis(900);
/// How old another stream's look may be that found nothing: a service has a dozen streams, and in most seconds nothing happens.
const SHARED: Duration = Duration::from_millis(800);
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
    calm: Arc<Mutex<Option<Calm>>>,
    turns: Arc<Mutex<HashMap<Uuid, Weak<Turn>>>>,
}

/// The streams of one account look in turn, so that of those that wake together one looks and the others learn from it: who may open
/// hundreds loads the database as with one.
type Turn = tokio::sync::Mutex<Option<Nothing>>;

/// What a look for one account found: nothing.
#[derive(Clone, Copy, Debug)]
struct Nothing {
    after: Position,
    begun: Instant,
    as_of: Timestamp,
    withheld: Option<Timestamp>,
}

/// A look that found nothing after a position, and nothing withheld.
#[derive(Clone, Copy, Debug)]
struct Calm {
    after: Position,
    /// Whatever was committed by then, the look saw.
    as_of: Timestamp,
    at: Instant,
}

impl FeedServer {
    /// Serves the feed of `database`; its streams end when `drain` begins.
    pub fn new(database: Database, clock: Arc<dyn Clock>, drain: Drain) -> Self {
        Self { database, clock, drain, calm: Arc::default(), turns: Arc::default() }
    }

    fn turn(&self, account: Option<Uuid>) -> Arc<Turn> {
        let Some(account) = account else { return Arc::default() };
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
    /// Up to when the stream was said to be complete.
    said: Timestamp,
    impatience: Backoff,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(WatchEventsResponse, Self)>, Status> {
        let mut rung = true;
        // Its own first look says whether its position is one.
        let mut since = self.sent.map(|_| Instant::now());
        while !self.feed.drain.has_begun() {
            if !rung && let Some(as_of) = self.calm() {
                return Ok(Some((self.respond(Batch::default(), as_of), self)));
            }
            self.pace().await;
            let (batch, as_of) = self.look_in_turn(since).await?;
            self.share(&batch, as_of);
            if !batch.events.is_empty() || self.heartbeat_in().is_zero() {
                return Ok(Some((self.respond(batch, as_of), self)));
            }
            let pause = self.pause(&batch);
            rung = self.feed.drain.unless_begun(self.woken.within(pause)).await.unwrap_or(true);
            since = Some(Instant::now());
            if self.account.is_some() {
                // Of those there are many, and most of what is committed is none of theirs.
                self.feed.drain.unless_begun(tokio::time::sleep(REST)).await;
            }
        }
        Ok(None)
    }

    /// When a heartbeat is due and another stream's look, of late, says that there is nothing more than this one has sent: as of when.
    fn calm(&self) -> Option<Timestamp> {
        let calm = (*lock(&self.feed.calm))?;
        let fits = self.account.is_none() && self.heartbeat_in().is_zero();
        let says = calm.after <= self.position && calm.at.elapsed() < SHARED && calm.as_of > self.said;
        (fits && says).then_some(calm.as_of)
    }

    /// Tells the others of a look that found nothing.
    fn share(&self, batch: &Batch, as_of: Timestamp) {
        if self.account.is_none() && batch.events.is_empty() && !batch.more && batch.withheld.is_none() {
            *lock(&self.feed.calm) = Some(Calm { after: self.position, as_of, at: Instant::now() });
        }
    }

    /// What there is, and as of when: by a look of its own, or by one that another stream of the account has begun at the same position
    /// `since` this one woke. Whatever was committed by then, that look saw.
    async fn look_in_turn(&self, since: Option<Instant>) -> Result<(Batch, Timestamp), Fault> {
        let mut last = self.turn.lock().await;
        let fresh = |seen: &Nothing| seen.after == self.position && since.is_some_and(|since| seen.begun >= since);
        if let Some(Nothing { as_of, withheld, .. }) = last.filter(fresh) {
            return Ok((Batch { withheld, ..Batch::default() }, as_of));
        }
        // Taken before the look: whatever was committed by now, the look sees.
        let (begun, as_of) = (Instant::now(), self.feed.clock.now());
        let batch = self.look().await?;
        if batch.events.is_empty() && !batch.more {
            *last = Some(Nothing { after: self.position, begun, as_of, withheld: batch.withheld });
        }
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

    fn pause(&mut self, batch: &Batch) -> Duration {
        let heartbeat = self.heartbeat_in();
        if batch.withheld.is_some() { heartbeat.min(self.impatience.next_delay()) } else { heartbeat }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
