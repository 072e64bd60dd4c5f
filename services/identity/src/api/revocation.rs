//! Tells verifiers which tokens are no longer good.

use std::{pin::Pin, sync::Arc, time::Duration};

use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    Revocation, WatchRevocationsRequest, WatchRevocationsResponse, revocation_service_server::RevocationService,
};
use diwan_runtime::{Drain, clock::after};
use futures::{Stream, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::encode;
use crate::worker::revocations::{Log, Standing};

/// A message without revocations comes no more often than this, however often the reader looks.
const HEARTBEAT: Duration = Duration::from_millis(400);

/// Serves the revocations that the process's one reader has found.
#[derive(Clone)]
pub struct RevocationApi {
    /// What the reader has found.
    pub revocations: watch::Receiver<Log>,
    /// Streams end with the process.
    pub drain: Drain,
}

#[tonic::async_trait]
impl RevocationService for RevocationApi {
    type WatchRevocationsStream = Pin<Box<dyn Stream<Item = Result<WatchRevocationsResponse, Status>> + Send>>;

    async fn watch_revocations(
        &self,
        _: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        let teller =
            Teller { log: self.revocations.clone(), drain: self.drain.clone(), next: 0, told: None, stood: None };
        let messages = stream::unfold(teller, async |mut teller| Some((Ok(teller.next().await?), teller)));
        Ok(Response::new(Box::pin(messages)))
    }
}

/// How far one stream has told.
struct Teller {
    log: watch::Receiver<Log>,
    drain: Drain,
    /// The number of the first revocation that it has not told.
    next: u64,
    /// The last `complete_until`.
    told: Option<Timestamp>,
    /// What it told whole.
    stood: Option<Arc<Standing>>,
}

impl Teller {
    /// The next message; `None` when the process ends.
    async fn next(&mut self) -> Option<WatchRevocationsResponse> {
        while !self.drain.has_begun() {
            if let Some(message) = self.message() {
                return Some(message);
            }
            self.drain.unless_begun(self.log.changed()).await?.ok()?;
        }
        None
    }

    /// What there is to tell now.
    fn message(&mut self) -> Option<WatchRevocationsResponse> {
        let log = self.log.borrow_and_update();
        let until = log.complete_until?;
        let (rows, next) = log.since(self.next);
        let revocations: Vec<Revocation> = rows.map(encode::revocation).collect();
        let standing = log.standing.clone();
        let changed = self.stood.as_ref() != Some(&standing);
        if revocations.is_empty() && !changed && self.told.is_some_and(|told| until < after(told, HEARTBEAT)) {
            return None;
        }
        self.next = next;
        self.told = Some(until);
        let operator_revocations = if changed { standing.operators.clone() } else { Vec::new() };
        let key_set = Some(standing.key_set.clone());
        self.stood = Some(standing);
        Some(WatchRevocationsResponse {
            revocations,
            complete_until: Some(to_proto(until)),
            key_set,
            operator_revocations,
        })
    }
}
