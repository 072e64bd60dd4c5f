//! Following the feed of another service: each event takes effect once.

use std::{error::Error as StdError, future::Future, time::Duration};

use diwan_proto::feed::v1::{self, WatchEventsResponse};
use diwan_runtime::{
    Drain,
    backoff::Backoff,
    worker::{chain, supervise},
};
use diwan_store::Database;
use jiff::Timestamp;
use sqlx::PgConnection;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use crate::{Event, Malformed, Position, Source, cursor, time};

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// A stream this silent is dead: the source sends something every five seconds.
const SILENCE: Duration = Duration::from_secs(15);
/// The cursor is moved over so many events that concern nobody here, or with the first that comes so long after the first of them: the
/// next start reads them again.
const PASSED_OVER: usize = 500;
const PASSED_OVER_FOR: Duration = Duration::from_mins(10);
/// No rest is longer, so that a slow database does not make the feed later still.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// So many events are applied at once at the least, if they are there.
const ENOUGH: usize = 500;

/// What a service does with the events of another.
pub trait Handler: Send + Sync + 'static {
    /// Why an event cannot be applied. Its `source()` keeps the cause, where a lost race is looked for.
    type Error: StdError + Send + Sync + 'static;

    /// Whether an event has an effect here. Those that have none cost no transaction and are not shown to [`Handler::apply`].
    fn concerns(&self, event: &Event) -> bool {
        let _ = event;
        true
    }

    /// How long events wait for more to be applied with them, in one transaction.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// How many times as long as events took to be applied it rests before the next: what nobody waits for leaves the machine to what
    /// somebody waits for.
    fn leisure(&self) -> u32 {
        0
    }

    /// Called within `tx` before [`Handler::apply`] is called for each of these events: to take all their locks in the order that the
    /// service's other transactions keep, which the order of the events does not.
    ///
    /// # Errors
    /// As those of [`Handler::apply`] of the first event.
    fn prepare(
        &self,
        tx: &mut PgConnection,
        events: &[&Event],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (tx, events);
        std::future::ready(Ok(()))
    }

    /// Writes the effect of one event within `tx`, where the cursor moves too. It passes over what it does not know, and
    /// ignores an event whose version is not higher than the one it has seen of that entity: events of one entity can
    /// overtake each other, and after CURSOR_GONE all of them come again.
    ///
    /// # Errors
    /// The feed stops at this event and tries it again with growing delays, until it succeeds.
    fn apply(&self, tx: &mut PgConnection, event: &Event) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Writes the effects of events that follow one another, as [`Handler::apply`] does of one: for a handler that can write many at
    /// once.
    ///
    /// # Errors
    /// The index of the event that cannot be applied, and why. Those before it are then applied without it.
    fn apply_all(
        &self,
        tx: &mut PgConnection,
        events: &[&Event],
    ) -> impl Future<Output = Result<(), (usize, Self::Error)>> + Send {
        async move {
            for (index, event) in events.iter().enumerate() {
                self.apply(tx, event).instrument(event.span()).await.map_err(|error| (index, error))?;
            }
            Ok(())
        }
    }

    /// Called after events were applied and committed, e.g. to wake workers of this process.
    fn committed(&self) {}

    /// Called when everything that the source committed before `until` has been applied here, about every five seconds.
    fn complete(&self, until: Timestamp) {
        let _ = until;
    }
}

/// Follows the feed that `source` serves until the process drains. The cursor is stored in `feed_cursors` under `name`,
/// which must not change between versions, e.g. `identity`.
///
/// Each event takes effect exactly once, with any number of replicas and after any crash: effect and cursor commit
/// together, and the cursor's row lock makes every replica see how far the others have come.
pub fn consume<S: Source, H: Handler>(drain: &Drain, name: &'static str, source: S, database: Database, handler: H) {
    let consumer = std::sync::Arc::new(Consumer { name, database, handler, drain: drain.clone() });
    supervise(drain, name, move || {
        let (consumer, source) = (consumer.clone(), source.clone());
        async move {
            consumer.run(source).await;
            Ok::<_, std::convert::Infallible>(())
        }
    });
}

/// How far a stream has been followed.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The last event seen.
    seen: Position,
    /// The cursor, as this replica knows it: what lies between the two concerns nobody here.
    stored: Position,
    /// How many events that is.
    passed_over: usize,
    /// When the first of them came.
    since: Instant,
}

impl Standing {
    fn at(stored: Position) -> Self {
        Self { seen: stored, stored, passed_over: 0, since: Instant::now() }
    }

    fn is_to_be_stored(&self) -> bool {
        self.passed_over >= PASSED_OVER || (self.passed_over > 0 && self.since.elapsed() >= PASSED_OVER_FOR)
    }
}

struct Consumer<H> {
    name: &'static str,
    database: Database,
    handler: H,
    drain: Drain,
}

/// Why a stream is left; the next one begins at the stored cursor.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("the source refused or broke the stream")]
    Source(#[from] Status),
    #[error("the source sent nothing for {SILENCE:?}")]
    Silent,
    #[error("the source breaks the protocol")]
    Malformed(#[from] Malformed),
    #[error("the cursor cannot be stored")]
    Store(#[from] diwan_store::Error),
    #[error("another replica set the cursor back")]
    SetBack,
    #[error("an event cannot be applied")]
    Event { index: usize, source: Box<dyn StdError + Send + Sync> },
}

impl<H: Handler> Consumer<H> {
    async fn run(&self, source: impl Source) {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        while let Some(left) = self.drain.unless_begun(self.follow(source.clone(), &mut backoff)).await {
            if let Err(left) = left {
                tracing::warn!(feed = self.name, error = chain(&left), "the feed is followed again from its cursor");
            }
            self.drain.unless_begun(tokio::time::sleep(backoff.next_delay())).await;
        }
    }

    /// Follows one stream to its end.
    async fn follow(&self, source: impl Source, backoff: &mut Backoff) -> Result<(), Left> {
        let mut standing = Standing::at(self.position().await?);
        let mut stream = match source.watch(standing.stored.to_request()).await {
            Err(status) => return self.refused(status, standing.stored).await,
            Ok(stream) => stream,
        };
        loop {
            match self.next(&mut stream).await {
                Ok(None) => return Ok(()),
                Ok(Some(response)) => standing = self.take(response, standing).await?,
                Err(Left::Source(status)) => return self.refused(status, standing.stored).await,
                Err(left) => return Err(left),
            }
            backoff.reset();
        }
    }

    /// The next events, and those that come before the handler loses its patience.
    async fn next(&self, stream: &mut Streaming<WatchEventsResponse>) -> Result<Option<WatchEventsResponse>, Left> {
        let Some(mut first) = next(stream).await? else { return Ok(None) };
        let until = Instant::now() + self.handler.patience();
        while !first.events.is_empty() && first.events.len() < ENOUGH {
            // What is left out when the stream ends or breaks meanwhile comes again.
            let Ok(more) = timeout_at(until, stream.message()).await else { break };
            let Some(more) = more? else { return Ok(None) };
            first.events.extend(more.events);
            first.complete_until = more.complete_until;
        }
        Ok(Some(first))
    }

    async fn position(&self) -> Result<Position, diwan_store::Error> {
        let mut connection = self.database.pool().acquire().await?;
        Ok(cursor::load(&mut connection, self.name).await?)
    }

    /// Starts over when the cursor is gone, unless another replica has done so or gone on.
    async fn refused(&self, status: Status, position: Position) -> Result<(), Left> {
        if diwan_fault::reason_of(&status).as_deref() != Some("CURSOR_GONE") {
            return Err(status.into());
        }
        tracing::error!(
            feed = self.name,
            ?position,
            "the cursor is gone: the feed is replayed from the first event kept"
        );
        self.database
            .transaction("reset cursor", async |tx: &mut PgConnection| {
                if cursor::lock(tx, self.name).await.map_err(diwan_store::Error::from)? == position {
                    cursor::save(tx, self.name, Position::START).await.map_err(diwan_store::Error::from)?;
                }
                Ok::<_, Left>(())
            })
            .await
    }

    /// Applies one response, and returns where the stream stands after it.
    async fn take(&self, response: WatchEventsResponse, from: Standing) -> Result<Standing, Left> {
        let events: Vec<Event> =
            response.events.into_iter().map(TryFrom::<v1::Event>::try_from).collect::<Result<_, _>>()?;
        let seen = events.last().map_or(from.seen, |event| event.position);
        let since = if from.passed_over == 0 { Instant::now() } else { from.since };
        let mut standing = Standing { seen, stored: from.stored, passed_over: from.passed_over + events.len(), since };
        if events.iter().any(|event| self.handler.concerns(event)) || standing.is_to_be_stored() {
            let begun = Instant::now();
            self.apply_all(&events, from).await?;
            standing = Standing::at(seen);
            tokio::time::sleep((begun.elapsed() * self.handler.leisure()).min(LONGEST_REST)).await;
        }
        if let Some(until) = response.complete_until.as_ref().and_then(time::from_proto) {
            self.handler.complete(until);
        }
        Ok(standing)
    }

    /// Applies the events; when one of them cannot be applied, those before it, so that the next stream begins at it.
    async fn apply_all(&self, events: &[Event], from: Standing) -> Result<(), Left> {
        let outcome = self.apply(events, from).await;
        if let Err(Left::Event { index, source }) = &outcome {
            let event = &events[*index];
            tracing::error!(
                feed = self.name,
                kind = event.kind,
                account = %event.account,
                entity = %event.entity,
                position = ?event.position,
                error = chain(source.as_ref()),
                "an event cannot be applied; the feed waits at it"
            );
            self.apply(&events[..*index], from).await?;
        }
        outcome
    }

    /// Applies events that follow `from` in one transaction with the cursor.
    async fn apply(&self, events: &[Event], from: Standing) -> Result<(), Left> {
        let seen = events.last().map_or(from.seen, |event| event.position);
        self.database
            .transaction(self.name, async |tx: &mut PgConnection| {
                // From here to the commit nobody else moves the cursor, so whatever is beyond it has no effect yet, and
                // whatever is not has one. What lies between the cursor as it is known and as it is, another replica has applied.
                let stored = cursor::lock(tx, self.name).await.map_err(diwan_store::Error::from)?;
                if stored < from.stored {
                    return Err(Left::SetBack);
                }
                let is_fresh = |event: &Event| event.position > stored && self.handler.concerns(event);
                let fresh: Vec<_> = events.iter().enumerate().filter(|(_, event)| is_fresh(event)).collect();
                let only: Vec<&Event> = fresh.iter().map(|(_, event)| *event).collect();
                if let Err(error) = self.handler.prepare(tx, &only).await {
                    let index = fresh.first().map_or(0, |(index, _)| *index);
                    return Err(Left::Event { index, source: Box::new(error) });
                }
                if let Err((place, error)) = self.handler.apply_all(tx, &only).await {
                    let index = fresh.get(place).map_or(0, |(index, _)| *index);
                    return Err(Left::Event { index, source: Box::new(error) });
                }
                if seen > stored {
                    cursor::save(tx, self.name, seen).await.map_err(diwan_store::Error::from)?;
                }
                Ok(())
            })
            .await?;
        self.handler.committed();
        Ok(())
    }
}

async fn next(stream: &mut Streaming<WatchEventsResponse>) -> Result<Option<WatchEventsResponse>, Left> {
    Ok(timeout(SILENCE, stream.message()).await.map_err(|_| Left::Silent)??)
}
