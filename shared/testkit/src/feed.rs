//! A feed that a test writes by hand.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_proto::{
    feed::v1::{
        Cursor, Event, WatchEventsRequest, WatchEventsResponse,
        feed_service_server::{FeedService, FeedServiceServer},
    },
    identity::v1::{
        KeySet, WatchRevocationsRequest, WatchRevocationsResponse,
        revocation_service_server::{RevocationService, RevocationServiceServer},
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
#[derive(Clone, Debug)]
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
        let methods = self.methods_without_revocations(name).await;
        let silent = NoRevocations { keys: None };
        if name == "identity" { methods.with(RevocationServiceServer::new(silent)).await } else { methods }
    }

    /// As identity, which tells processes of their own the keys of access tokens: see [`crate::World::access_keys`].
    pub async fn identity(&self, keys: KeySet) -> Methods {
        let revocations = RevocationServiceServer::new(NoRevocations { keys: Some(keys) });
        self.methods_without_revocations("identity").await.with(revocations).await
    }

    async fn methods_without_revocations(&self, name: &'static str) -> Methods {
        Methods::new(name).with(FeedServiceServer::new(self.clone())).await
    }

    /// Appends an event.
    pub fn write<M: Message + Name>(&self, account: Uuid, entity: Uuid, version: i64, payload: &M) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = i64::try_from(events.len()).unwrap_or(i64::MAX) + 1;
        events.push(Event {
            cursor: Some(Cursor { generation: 1, transaction: 1, sequence }),
            account_id: account.to_string(),
            entity_id: entity.to_string(),
            entity_version: version,
            occurred_at: Some(prost_types::Timestamp::default()),
            traceparent: String::new(),
            payload: Some(prost_types::Any { type_url: M::type_url(), value: payload.encode_to_vec() }),
            origin: None,
        });
        self.grown.send_replace(());
    }

    fn after(&self, sent: usize) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).get(sent..).unwrap_or_default().to_vec()
    }
}

#[tonic::async_trait]
impl FeedService for FakeFeed {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let sent = request.into_inner().after.map_or(0, |after| usize::try_from(after.sequence).unwrap_or_default());
        let state = (self.clone(), self.grown.subscribe(), sent);
        Ok(Response::new(Box::pin(stream::unfold(state, |(feed, mut grown, sent)| async move {
            grown.mark_unchanged();
            let mut events = feed.after(sent);
            if events.is_empty() {
                let _ = tokio::time::timeout(Duration::from_millis(500), grown.changed()).await;
                events = feed.after(sent);
            }
            let sent = sent + events.len();
            Some((Ok(WatchEventsResponse { events, complete_until: None }), (feed, grown, sent)))
        }))))
    }
}

/// Says ten times a second that nobody was revoked, and these keys.
struct NoRevocations {
    keys: Option<KeySet>,
}

#[tonic::async_trait]
impl RevocationService for NoRevocations {
    type WatchRevocationsStream = Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn watch_revocations(
        &self,
        _: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        let keys = self.keys.clone();
        Ok(Response::new(Box::pin(stream::unfold((Duration::ZERO, keys), |(pause, key_set)| async move {
            tokio::time::sleep(pause).await;
            let complete_until = Some(prost_types::Timestamp::from(std::time::SystemTime::from(SystemClock.now())));
            let beat = WatchRevocationsResponse {
                complete_until,
                key_set: key_set.clone(),
                ..WatchRevocationsResponse::default()
            };
            Some((Ok(beat), (Duration::from_millis(100), key_set)))
        }))))
    }
}
