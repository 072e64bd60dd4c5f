//! Has the people of a mailbox told that its credentials are refused.

use diwan_proto::identity::v1::AlertMailboxNeedsCredentialsRequest;
use tonic::Code;

use super::owned::Owned;
use crate::{error::Error, store::alerts};

/// Asks identity, under the same id until it has answered: whoever dies in between asks again, and they are told once.
pub(super) async fn tell(owned: &Owned) -> Result<(), Error> {
    let untold = alerts::untold(&mut *owned.connection().await?, owned.key()).await?;
    let Some((id, address)) = untold else { return Ok(()) };
    let request = AlertMailboxNeedsCredentialsRequest {
        request_id: id.to_string(),
        account_id: owned.account.to_string(),
        address,
        // Every mailbox is a team's.
        user_id: String::new(),
    };
    match owned.shared.identity.clone().alert_mailbox_needs_credentials(request).await {
        Ok(_) => {}
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
            tracing::error!(mailbox_id = %owned.id, %status, "an alert was refused");
        }
        Err(status) => return Err(Error::Service("identity", Box::new(status))),
    }
    Ok(alerts::told(&mut *owned.connection().await?, owned.key(), id).await?)
}
