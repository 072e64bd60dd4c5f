//! PresenceService.

use std::time::Duration;

use diwan_access::user;
use diwan_proto::conversation::v1::{HeartbeatRequest, HeartbeatResponse, presence_service_server::PresenceService};
use tonic::{Request, Response, Status};

use super::Api;
use crate::store::presence;

#[tonic::async_trait]
impl PresenceService for Api {
    /// One row is changed by it, and nothing is locked, unless he was not there.
    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let caller = user(&request)?;
        let settings = &self.0.settings;
        let within = if request.get_ref().background { settings.background } else { settings.heartbeat };
        let until = presence::lease(self.0.clock.now(), within);
        let whose = (caller.user_id, caller.session_id);
        let known = presence::beat(self.0.database.pool(), caller.account_id, whose, until).await?;
        let present = match known {
            Some(present) => present,
            None => self.enter(&caller, caller.session_id, within).await?,
        };
        Ok(Response::new(HeartbeatResponse {
            availability: Some(present.to_proto()),
            next_within: Some(duration(within)),
            kept_for: Some(duration(within.saturating_add(settings.grace))),
        }))
    }
}

fn duration(value: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: value.subsec_nanos().cast_signed() }
}
