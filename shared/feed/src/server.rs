//! Serving a service's events to the others.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
        Self { database, clock, drain, calm: Arc::default() }
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
            position: Position::from_request(message.after),
            sent: None,
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
    woken: Woken,
    position: Position,
    sent: Option<Instant>,
    /// Up to when the stream was said to be complete.
    said: Timestamp,
    impatience: Backoff,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(WatchEventsResponse, Self)>, Status> {
        let mut rung = true;
        while !self.feed.drain.has_begun() {
            if !rung && let Some(as_of) = self.calm() {
                return Ok(Some((self.respond(Batch::default(), as_of), self)));
            }
            // Taken before the look: whatever was committed by now, the look sees.
            let as_of = self.feed.clock.now();
            let batch = self.look().await?;
            self.share(&batch, as_of);
            if !batch.events.is_empty() || self.heartbeat_in().is_zero() {
                return Ok(Some((self.respond(batch, as_of), self)));
            }
            let pause = self.pause(&batch);
            rung = self.feed.drain.unless_begun(self.woken.within(pause)).await.unwrap_or(true);
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

    fn respond(&mut self, batch: Batch, as_of: Timestamp) -> WatchEventsResponse {
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
