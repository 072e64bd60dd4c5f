//! The services beside ours: team and identity with their feeds, mailbox with what it was asked to send.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use diwan_proto::{
    feed::v1::{
        Cursor, Event, WatchEventsRequest, WatchEventsResponse,
        feed_service_server::{FeedService, FeedServiceServer},
    },
    identity::v1::{
        WatchRevocationsRequest, WatchRevocationsResponse,
        revocation_service_server::{RevocationService, RevocationServiceServer},
    },
    mailbox::v1::{
        SendMailRequest, SendMailResponse,
        send_service_server::{SendService, SendServiceServer},
    },
};
use diwan_runtime::{Clock as _, SystemClock};
use diwan_transport::Methods;
use futures::{Stream, stream};
use prost::{Message, Name};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// A feed that a test writes by hand.
#[derive(Clone)]
pub struct FakeFeed {
    events: Arc<Mutex<Vec<Event>>>,
    grown: watch::Sender<()>,
}

impl Default for FakeFeed {
    fn default() -> Self {
        Self { events: Arc::default(), grown: watch::Sender::new(()) }
    }
}

impl FakeFeed {
    /// As the service `name`, which knows of no revocation where it is identity.
    pub async fn methods(&self, name: &'static str) -> Methods {
        let methods = Methods::new(name).with(FeedServiceServer::new(self.clone())).await;
        if name == "identity" { methods.with(RevocationServiceServer::new(NoRevocations)).await } else { methods }
    }

    pub fn write<M: Message + Name>(&self, account: Uuid, entity: Uuid, version: i64, payload: &M) {
        let mut events = self.events.lock().unwrap();
        let sequence = i64::try_from(events.len()).unwrap() + 1;
        events.push(Event {
            cursor: Some(Cursor { generation: 1, transaction: 1, sequence }),
            account_id: account.to_string(),
            entity_id: entity.to_string(),
            entity_version: version,
            occurred_at: Some(prost_types::Timestamp::default()),
            traceparent: String::new(),
            payload: Some(prost_types::Any { type_url: M::type_url(), value: payload.encode_to_vec() }),
        });
        self.grown.send_replace(());
    }
}

#[tonic::async_trait]
impl FeedService for FakeFeed {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let sent = request.into_inner().after.map_or(0, |after| usize::try_from(after.sequence).unwrap());
        let state = (self.clone(), self.grown.subscribe(), sent);
        Ok(Response::new(Box::pin(stream::unfold(state, |(feed, mut grown, sent)| async move {
            grown.mark_unchanged();
            let mut events = feed.events.lock().unwrap()[sent..].to_vec();
            if events.is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(500), grown.changed()).await;
                events = feed.events.lock().unwrap()[sent..].to_vec();
            }
            let sent = sent + events.len();
            Some((Ok(WatchEventsResponse { events, complete_until: None }), (feed, grown, sent)))
        }))))
    }
}

/// What the mailbox service was asked to send, and what it answers.
#[derive(Clone, Default)]
pub struct FakeMailbox {
    sent: Arc<Mutex<Vec<SendMailRequest>>>,
    refusals: Arc<Mutex<Vec<Status>>>,
}

impl FakeMailbox {
    pub async fn methods(&self) -> Methods {
        Methods::new("mailbox").with(SendServiceServer::new(self.clone())).await
    }

    pub fn sent(&self) -> Vec<SendMailRequest> {
        self.sent.lock().unwrap().clone()
    }

    /// The next call is refused like this.
    pub fn refuse(&self, status: Status) {
        self.refusals.lock().unwrap().push(status);
    }
}

#[tonic::async_trait]
impl SendService for FakeMailbox {
    async fn send_mail(&self, request: Request<SendMailRequest>) -> Result<Response<SendMailResponse>, Status> {
        if let Some(status) = self.refusals.lock().unwrap().pop() {
            return Err(status);
        }
        self.sent.lock().unwrap().push(request.into_inner());
        Ok(Response::new(SendMailResponse {}))
    }
}

/// Says ten times a second that nobody was revoked.
struct NoRevocations;

#[tonic::async_trait]
impl RevocationService for NoRevocations {
    type WatchRevocationsStream = Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn watch_revocations(
        &self,
        _: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        Ok(Response::new(Box::pin(stream::unfold(Duration::ZERO, |pause| async move {
            tokio::time::sleep(pause).await;
            let complete_until = Some(diwan_feed::time::to_proto(SystemClock.now()));
            let beat = WatchRevocationsResponse { revocations: Vec::new(), complete_until };
            Some((Ok(beat), Duration::from_millis(100)))
        }))))
    }
}
