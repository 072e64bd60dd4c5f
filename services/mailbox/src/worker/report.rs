//! Tells conversation what became of the mail that it asked to send, until it has heard it; and identity of refused credentials.

use std::time::Duration;

use diwan_proto::conversation::v1::{DeliveryState, ReportDeliveryRequest};
use tonic::Code;

use super::{
    alert,
    owned::{Owned, REST},
    sent_folder,
};
use crate::{
    error::{Error, words},
    store::outgoing::{self, Unreported},
};

/// Runs until the mailbox is given back. The work is boxed, so that a mailbox at rest takes little memory.
pub(super) async fn run(owned: &Owned) {
    owned.rounds("report", &owned.to_report, || Box::pin(owned.breakable(round(owned), REST))).await;
}

async fn round(owned: &Owned) -> Result<Duration, Error> {
    loop {
        let unreported = outgoing::unreported(&mut *owned.connection().await?, owned.key()).await?;
        if unreported.is_empty() {
            // After the reports: that identity is away holds nothing else up.
            return alert::tell(owned).await.map(|()| REST);
        }
        for mut mail in unreported {
            if mail.state == "UNKNOWN" {
                look_among_sent(owned, &mut mail).await?;
            }
            report(owned, &mail).await?;
        }
    }
}

/// A mail of unknown fate that stands in the Sent folder has left. Otherwise its fate stays unknown, and it is not sent
/// again.
async fn look_among_sent(owned: &Owned, mail: &mut Unreported) -> Result<(), Error> {
    match sent_folder::holds(owned, &mail.rfc_message_id).await {
        Ok(true) => {
            outgoing::found_sent(&mut *owned.connection().await?, owned.account, mail.message_id).await?;
            (mail.state, mail.error) = ("SENT".to_owned(), String::new());
        }
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(mailbox_id = %owned.id, error = words(&error), "the Sent folder could not be looked into");
        }
    }
    Ok(())
}

async fn report(owned: &Owned, mail: &Unreported) -> Result<(), Error> {
    let delivery = match mail.state.as_str() {
        "SENT" => DeliveryState::Sent,
        "FAILED" => DeliveryState::Failed,
        _ => DeliveryState::Unknown,
    };
    let request = ReportDeliveryRequest {
        account_id: owned.account.to_string(),
        message_id: mail.message_id.to_string(),
        delivery: delivery.into(),
        error: mail.error.clone(),
    };
    match owned.shared.conversation.clone().report_delivery(request).await {
        Ok(_) => {}
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
            tracing::error!(mailbox_id = %owned.id, message_id = %mail.message_id, %status, "a report was refused");
        }
        Err(status) => return Err(Error::Service("conversation", Box::new(status))),
    }
    let mut connection = owned.connection().await?;
    Ok(outgoing::reported(&mut connection, owned.account, mail.message_id, &mail.state).await?)
}
