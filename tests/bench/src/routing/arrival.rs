//! Customers' messages, as the mailbox service brings them.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use diwan_access::{Signer, token::ServiceClaims};
use diwan_e2e::{
    Failure,
    door::{Door, request_id},
};
use diwan_proto::conversation::v1::{IngestMessageRequest, ingest_service_client::IngestServiceClient};
use diwan_runtime::{Clock as _, SystemClock};
use tonic::{
    Request, Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
};

/// Brings messages as the mailbox service does.
#[derive(Clone)]
pub(crate) struct Arrivals {
    door: Door,
    header: AsciiMetadataKey,
    token: AsciiMetadataValue,
    account: String,
}

impl Arrivals {
    /// For `account`, to the conversation service at `address`.
    pub(crate) async fn open(address: SocketAddr, keys: &Path, account: &str) -> Result<Self, Failure> {
        let signer = Signer::load(keys, "mailbox", Arc::new(SystemClock))?;
        let claims = ServiceClaims { registered: signer.registered("conversation", Duration::from_mins(30)) };
        let token = signer.sign(&claims)?.parse()?;
        let header = AsciiMetadataKey::from_bytes(diwan_access::SERVICE_TOKEN.as_ref())?;
        Ok(Self { door: Door::open(address).await?, header, token, account: account.to_owned() })
    }

    /// A new customer writes to `team`; returns the conversation, whose arrival is committed.
    pub(crate) async fn one(&self, team: &str) -> Result<String, Status> {
        let id = request_id();
        let message = IngestMessageRequest {
            account_id: self.account.clone(),
            message_id: id.clone(),
            mailbox_id: team.to_owned(),
            mailbox_address: "support@example.com".into(),
            team_id: team.to_owned(),
            from_email: format!("{id}@customers.example"),
            subject: "Where is my order?".into(),
            text: "It was to come on Monday.".into(),
            rfc_message_id: format!("{id}@customers.example"),
            received_at: Some(std::time::SystemTime::from(SystemClock.now()).into()),
            ..IngestMessageRequest::default()
        };
        let mut request = Request::new(message);
        request.metadata_mut().insert(self.header.clone(), self.token.clone());
        let answer = IngestServiceClient::new(self.door.way()).ingest_message(request).await?;
        Ok(answer.into_inner().conversation_id)
    }
}
