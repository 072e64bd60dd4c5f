//! The events of one account from all services, for service principals. Why it is here and how it holds:
//! docs/decisions/events.md.

mod cursor;
mod published;
mod source;

use std::{collections::HashMap, pin::Pin, time::Duration};

use cursor::Places;
use diwan_access::{Admission, Principal, Signer, principal};
use diwan_fault::Fields;
use diwan_proto::{
    feed::v1 as feed,
    gateway::v1::{Event, WatchEventsRequest, WatchEventsResponse, event_service_server::EventService},
};
use diwan_runtime::Drain;
use diwan_transport::{Network, Transport};
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use prost_types::Timestamp;
use published::Published;
use source::{Piece, follow};
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Whose feeds are merged.
const SERVICES: [&str; 5] = ["identity", "team", "conversation", "mailbox", "billing"];
/// The longest silence. The protocol promises a second.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How often it is looked whether the reader may still be here.
const RECHECK: Duration = Duration::from_millis(200);

/// Answers for the events of accounts.
pub(crate) struct Events {
    network: Network,
    signer: Signer,
    admission: Admission,
    published: Published,
    drain: Drain,
}

impl Events {
    /// Reads from the services as `signer`.
    pub(crate) fn new(context: &diwan_launch::Context) -> Result<Self, prost_reflect::DescriptorError> {
        Ok(Self {
            network: context.network.clone(),
            signer: context.signer.clone(),
            admission: context.admission.clone(),
            published: Published::load()?,
            drain: context.drain.clone(),
        })
    }

    fn to(&self, service: &'static str) -> Transport {
        self.network.to(service).signed(&self.signer)
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let reader = principal(&request)?;
        let mut fields = Fields::new();
        let places = Places::read(&request.get_ref().cursor, reader.account_id, &SERVICES);
        if places.is_none() {
            fields.refuse("cursor", "FIELD_CURSOR", &[]);
        }
        fields.finish()?;
        let places = places.unwrap_or_default();
        let account = reader.account_id;
        let sources = SERVICES.map(|service| follow(service, self.to(service), account, places.of(service)).boxed());
        let now = Instant::now();
        let watch = Watch {
            admission: self.admission.clone(),
            published: self.published.clone(),
            drain: self.drain.clone(),
            reader,
            sources: stream::select_all(sources).boxed(),
            places,
            complete: HashMap::new(),
            recheck_at: now,
            heartbeat_at: now + HEARTBEAT,
        };
        Ok(Response::new(Box::pin(stream::try_unfold(watch, Watch::next))))
    }
}

/// One reader's stream. It reads from the services only when its own reader asks for more.
struct Watch {
    admission: Admission,
    published: Published,
    drain: Drain,
    reader: Principal,
    sources: BoxStream<'static, Result<Piece, Status>>,
    places: Places,
    /// Until when each service has sent everything.
    complete: HashMap<&'static str, Timestamp>,
    recheck_at: Instant,
    heartbeat_at: Instant,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(WatchEventsResponse, Self)>, Status> {
        while !self.drain.has_begun() {
            // Nothing goes out later than this after the reader's access was cut, whatever has come in meanwhile.
            if Instant::now() >= self.recheck_at {
                self.admission.recheck(&self.reader)?;
                self.recheck_at = Instant::now() + RECHECK;
            }
            let events = self.wait().await?;
            if !events.is_empty() || Instant::now() >= self.heartbeat_at {
                self.admission.recheck(&self.reader)?;
                return Ok(Some((self.respond(events), self)));
            }
        }
        Ok(None)
    }

    /// What comes until there is something else to do.
    async fn wait(&mut self) -> Result<Vec<Event>, Status> {
        let until = self.recheck_at.min(self.heartbeat_at);
        tokio::select! {
            piece = self.sources.next() => match piece {
                Some(piece) => Ok(self.take(piece?)),
                None => Ok(Vec::new()),
            },
            () = sleep_until(until) => Ok(Vec::new()),
            () = self.drain.begun() => Ok(Vec::new()),
        }
    }

    fn take(&mut self, piece: Piece) -> Vec<Event> {
        let Piece { service, sent } = piece;
        if let Some(last) = sent.events.last().and_then(|event| event.cursor) {
            self.places.advance(service, last);
        }
        if let Some(until) = sent.complete_until {
            self.complete.insert(service, until);
        }
        let own = |event: &feed::Event| Uuid::try_parse(&event.account_id) == Ok(self.reader.account_id);
        let events = sent.events.into_iter().filter(|event| own(event) && self.published.holds(event));
        events.map(|event| outside(service, event)).collect()
    }

    fn respond(&mut self, events: Vec<Event>) -> WatchEventsResponse {
        self.heartbeat_at = Instant::now() + HEARTBEAT;
        let all = self.complete.len() == SERVICES.len();
        let earliest = self.complete.values().min_by_key(|until| (until.seconds, until.nanos));
        let complete_until = earliest.filter(|_| all).copied();
        WatchEventsResponse { events, cursor: self.places.write(self.reader.account_id), complete_until }
    }
}

/// An event without what only services need.
fn outside(service: &str, event: feed::Event) -> Event {
    Event {
        service: service.to_owned(),
        entity_id: event.entity_id,
        entity_version: event.entity_version,
        occurred_at: event.occurred_at,
        payload: event.payload,
    }
}
