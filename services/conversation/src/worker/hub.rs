//! Our own feed, read once for all streams of this process.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use diwan_fault::Fault;
use diwan_feed::{Event as Raw, Position};
use diwan_proto::{
    conversation::v1::{
        Availability, AvailabilityChanged, BoardChanged, ConversationChanged, ConversationWaitsLong, InboxScopeChanged,
    },
    feed::v1::{WatchEventsRequest, WatchEventsResponse, feed_service_server::FeedService as _},
};
use diwan_runtime::worker::{chain, supervise};
use futures::StreamExt as _;
use tokio::{
    sync::{Notify, broadcast},
    time::timeout,
};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::{Error, app::App, store::feed};

/// How many batches a slow stream may be behind before it has to read the feed itself.
const BACKLOG: usize = 256;

/// A database that is away is not asked without a pause.
const AGAIN: Duration = Duration::from_millis(200);

/// How far behind the feed's end the hub may be while nobody listens: the first who comes is shown what lies between.
const BEHIND: Duration = Duration::from_secs(1);

/// What streams show.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A conversation changed.
    Conversation(Box<ConversationChanged>),
    /// A conversation waits long.
    WaitsLong(Box<ConversationWaitsLong>),
    /// Somebody's availability changed.
    Availability(Availability),
    /// What a team's board shows beside conversations and availability changed.
    Board(Uuid),
    /// What one person may see changed, or what anybody of the account may see.
    Scope(Option<Uuid>),
}

/// One event of the feed.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it stands.
    pub position: Position,
    /// The account that it belongs to.
    pub account: Uuid,
    /// What happened.
    pub happened: Happened,
}

/// Events that follow one another.
pub type Batch = Arc<Vec<Event>>;

/// Gives the feed to the streams. Invariant: whoever subscribes gets a position and every later event, since both are taken under
/// one lock, a batch is sent under the same, and so are events passed over that nobody listens to.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<(Position, broadcast::Sender<Batch>)>,
    subscribed: Notify,
}

impl Hub {
    /// One that goes on after `head`.
    pub fn new(head: Position) -> Self {
        let state = Mutex::new((head, broadcast::Sender::new(BACKLOG)));
        Self(Arc::new(Shared { state, subscribed: Notify::new() }))
    }

    /// Where it stands now, and what comes after.
    pub fn subscribe(&self) -> (Position, broadcast::Receiver<Batch>) {
        let state = self.lock();
        let subscription = (state.0, state.1.subscribe());
        self.0.subscribed.notify_one();
        subscription
    }

    fn position(&self) -> Position {
        self.lock().0
    }

    fn is_heard(&self) -> bool {
        self.lock().1.receiver_count() > 0
    }

    /// Passes over everything until `head`, unless somebody listens.
    fn pass_over(&self, head: Position) {
        let mut state = self.lock();
        if state.1.receiver_count() == 0 {
            state.0 = head;
        }
    }

    fn publish(&self, end: Position, batch: Batch) {
        let mut state = self.lock();
        state.0 = end;
        // An error means that no stream is open.
        let _ = state.1.send(batch);
    }

    /// The feed has another past now: every stream ends and starts over.
    fn restart(&self, head: Position) {
        *self.lock() = (head, broadcast::Sender::new(BACKLOG));
    }

    fn lock(&self) -> MutexGuard<'_, (Position, broadcast::Sender<Batch>)> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to read.
pub fn start(app: &Arc<App>) {
    let reader = app.clone();
    supervise(&app.drain, "inbox hub", move || read(reader.clone()));
}

async fn read(app: Arc<App>) -> Result<(), Error> {
    while !app.hub.is_heard() {
        app.hub.pass_over(feed::head(app.database.pool()).await?);
        let _ = timeout(BEHIND, app.hub.0.subscribed.notified()).await;
    }
    match follow(&app, app.hub.position()).await {
        Err(status) if diwan_fault::reason_of(&status).as_deref() == Some("CURSOR_GONE") => {
            app.hub.restart(feed::head(app.database.pool()).await?);
        }
        Err(status) => {
            tracing::warn!(error = chain(&status), "our own feed could not be read");
            tokio::time::sleep(AGAIN).await;
        }
        Ok(()) => {}
    }
    Ok(())
}

async fn follow(app: &App, after: Position) -> Result<(), Status> {
    let mut responses = open(app, after).await?;
    while let Some(response) = responses.next().await {
        if let Some((end, batch)) = decode(response?)? {
            app.hub.publish(end, batch);
        }
        if !app.hub.is_heard() {
            break;
        }
    }
    Ok(())
}

/// Opens the feed after a position.
pub async fn open(
    app: &App,
    after: Position,
) -> Result<impl futures::Stream<Item = Result<WatchEventsResponse, Status>> + Unpin + Send + use<>, Status> {
    let after = (after != Position::START).then(|| after.into());
    Ok(app
        .feed
        .watch_events(Request::new(WatchEventsRequest { after, ..WatchEventsRequest::default() }))
        .await?
        .into_inner())
}

/// The events of a response that streams show, and where the last one of all stands; `None` for a heartbeat.
pub fn decode(response: WatchEventsResponse) -> Result<Option<(Position, Batch)>, Status> {
    let mut end = None;
    let mut batch = Vec::with_capacity(response.events.len());
    for event in response.events {
        let raw = Raw::try_from(event).map_err(Fault::internal)?;
        end = Some(raw.position);
        if let Some(happened) = happened(&raw).map_err(Error::from)? {
            batch.push(Event { position: raw.position, account: raw.account, happened });
        }
    }
    Ok(end.map(|end| (end, Arc::new(batch))))
}

fn happened(raw: &Raw) -> Result<Option<Happened>, prost::DecodeError> {
    if let Some(changed) = raw.payload::<ConversationChanged>()? {
        return Ok(Some(Happened::Conversation(Box::new(changed))));
    }
    if let Some(changed) = raw.payload::<AvailabilityChanged>()? {
        return Ok(changed.availability.map(Happened::Availability));
    }
    if let Some(alert) = raw.payload::<ConversationWaitsLong>()? {
        return Ok(Some(Happened::WaitsLong(Box::new(alert))));
    }
    if raw.payload::<BoardChanged>()?.is_some() {
        return Ok(Some(Happened::Board(raw.entity)));
    }
    let scope = raw.payload::<InboxScopeChanged>()?;
    Ok(scope.map(|changed| Happened::Scope(Uuid::try_parse(&changed.user_id).ok())))
}
