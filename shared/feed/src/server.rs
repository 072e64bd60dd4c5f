//! Serving a service's events to the others.

use std::{pin::Pin, sync::Arc, time::Duration};

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
const HEARTBEAT: Duration = Duration::from_millis(500);
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
}

impl FeedServer {
    /// Serves the feed of `database`; its streams end when `drain` begins.
    pub fn new(database: Database, clock: Arc<dyn Clock>, drain: Drain) -> Self {
        Self { database, clock, drain }
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
    impatience: Backoff,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(WatchEventsResponse, Self)>, Status> {
        while !self.feed.drain.has_begun() {
            // Taken before the look: whatever was committed by now, the look sees.
            let as_of = self.feed.clock.now();
            let batch = self.look().await?;
            if !batch.events.is_empty() || self.heartbeat_in().is_zero() {
                return Ok(Some((self.respond(batch, as_of), self)));
            }
            let pause = self.pause(&batch);
            self.feed.drain.unless_begun(self.woken.within(pause)).await;
            if self.account.is_some() {
                // Of those there are many, and most of what is committed is none of theirs.
                self.feed.drain.unless_begun(tokio::time::sleep(REST)).await;
            }
        }
        Ok(None)
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
