//! Follows what identity tells verifiers: the keys of access tokens, and what was revoked.

use std::{sync::Arc, time::Duration};

use diwan_access::{AccessKeys, Revocations};
use diwan_proto::identity::v1::{WatchRevocationsRequest, revocation_service_client::RevocationServiceClient};
use diwan_runtime::{Clock, Drain, worker};
use diwan_transport::Transport;
use jiff::Timestamp;
use tonic::Status;

/// A heartbeat comes every second; after so much silence the stream is dead, whatever TCP says.
const SILENCE: Duration = Duration::from_secs(3);

/// Until the next try. It does not grow: after five seconds without news every user is refused.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps `revocations` and `keys` up to date for as long as the process runs.
pub(crate) fn revocations(
    drain: &Drain,
    identity: Transport,
    revocations: Revocations,
    keys: AccessKeys,
    clock: Arc<dyn Clock>,
) {
    worker::supervise(drain, "revocations", move || {
        let (identity, revocations, keys, clock) = (identity.clone(), revocations.clone(), keys.clone(), clock.clone());
        async move {
            let ended = follow(identity, revocations, keys, clock).await;
            if let Err(status) = &ended {
                tracing::warn!(%status, "identity's revocations cannot be followed");
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<(), Status>(())
        }
    });
}

async fn follow(
    identity: Transport,
    revocations: Revocations,
    keys: AccessKeys,
    clock: Arc<dyn Clock>,
) -> Result<(), Status> {
    let mut client = RevocationServiceClient::new(identity);
    let mut stream = client.watch_revocations(WatchRevocationsRequest {}).await?.into_inner();
    loop {
        let next = tokio::time::timeout(SILENCE, stream.message()).await;
        let message = next.map_err(|_| Status::unavailable("identity is silent"))??;
        let message = message.ok_or_else(|| Status::unavailable("identity ended the stream"))?;
        let until = message.complete_until.unwrap_or_default();
        let until = Timestamp::new(until.seconds, until.nanos).unwrap_or(Timestamp::UNIX_EPOCH);
        // A clock of identity's that runs ahead must not stretch the bound.
        let until = until.min(clock.now());
        if let Some(set) = &message.key_set {
            keys.learn(set, until);
        }
        revocations.learn_operators(&message.operator_revocations, until);
        // Last: only now is everything known that was true then.
        revocations.learn(&message.revocations, until);
        revocations.hear();
    }
}
