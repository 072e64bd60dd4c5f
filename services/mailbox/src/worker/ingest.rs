//! Hands stored mail to conversation, in the order in which it was stored, exactly once: conversation knows each mail by
//! its id, and here it is marked when it has arrived.

use std::time::Duration;

use diwan_proto::conversation::v1 as conversation;
use tonic::{Code, Status};

use super::owned::{Owned, REST};
use crate::{
    api::timestamp,
    error::Error,
    store::{
        mailboxes::Mailbox,
        messages::{self, Pending},
    },
};

/// Runs until the mailbox is given back. The work is boxed, so that a mailbox at rest takes little memory.
pub(super) async fn run(owned: &Owned) {
    owned.rounds("ingest", &owned.to_ingest, || Box::pin(owned.breakable(round(owned), REST))).await;
}

async fn round(owned: &Owned) -> Result<Duration, Error> {
    let mut mailbox = None;
    loop {
        let next = messages::next_pending(&mut *owned.connection().await?, owned.key()).await?;
        let Some(pending) = next else { return Ok(REST) };
        let mailbox = match &mailbox {
            Some(mailbox) => mailbox,
            None => mailbox.insert(owned.mailbox().await?),
        };
        let id = pending.id;
        let told = owned.shared.conversation.clone().ingest_message(request(mailbox, pending)).await;
        let state = match told {
            Ok(_) => "INGESTED",
            Err(status) if is_about_this_mail(&status) => {
                tracing::error!(mailbox_id = %owned.id, message_id = %id, %status, "conversation refused a mail");
                "REFUSED"
            }
            Err(status) => return Err(Error::Service("conversation", Box::new(status))),
        };
        messages::settle(&mut *owned.connection().await?, owned.account, id, state).await?;
    }
}

/// One mail that can never be taken must not keep out those behind it. It stays stored.
fn is_about_this_mail(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange)
}

fn request(mailbox: &Mailbox, mail: Pending) -> conversation::IngestMessageRequest {
    conversation::IngestMessageRequest {
        account_id: mailbox.account_id.to_string(),
        message_id: mail.id.to_string(),
        mailbox_id: mailbox.id.to_string(),
        mailbox_address: mailbox.address.clone(),
        team_id: mailbox.team_id.to_string(),
        from_email: mail.from_email,
        from_name: mail.from_name,
        subject: mail.subject,
        text: mail.body,
        rfc_message_id: mail.rfc_message_id,
        references: mail.thread,
        attachments: mail.attachments.0.into_iter().map(attachment).collect(),
        received_at: Some(timestamp(mail.received_at.to_jiff())),
        broken: mail.broken,
        country: String::new(),
        topic_ids: Vec::new(),
        automatic: mail.automatic,
    }
}

fn attachment(file: messages::Attachment) -> conversation::Attachment {
    conversation::Attachment { name: file.name, media_type: file.media_type, size: file.size, sha256: file.sha256 }
}
