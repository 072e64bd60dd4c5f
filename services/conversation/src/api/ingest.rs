//! IngestService.

use diwan_fault::{Fault, Fields};
use diwan_feed::time::from_proto;
use diwan_proto::conversation::v1::{
    DeliveryState, IngestMessageRequest, IngestMessageResponse, ReportDeliveryRequest, ReportDeliveryResponse,
    ingest_service_server::IngestService,
};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Api, fields::country};
use crate::{
    Error,
    domain::state::Delivery,
    flow::{self, ingest::Incoming},
    store::messages::Attachment,
    worker::sender,
};

/// References beyond these are not looked at: the nearest come first.
const MOST_REFERENCES: usize = 50;
/// The most topics of a new conversation.
const MOST_TOPICS: usize = 20;
/// RFC 5322 section 2.1.1: no line is longer.
const LONGEST_LINE: usize = 998;

#[tonic::async_trait]
impl IngestService for Api {
    async fn ingest_message(
        &self,
        request: Request<IngestMessageRequest>,
    ) -> Result<Response<IngestMessageResponse>, Status> {
        let now = self.0.clock.now();
        let mail = incoming(request.get_ref(), now)?;
        let ingested = self
            .0
            .database
            .transaction("ingest", async |tx: &mut PgConnection| flow::ingest::ingest(tx, &mail, now).await)
            .await?;
        self.0.wake(ingested.waits);
        if ingested.heard_by_bot {
            self.0.bot_spoke();
        }
        if ingested.replied {
            self.0.database.wake().ring(sender::BELL);
        }
        Ok(Response::new(IngestMessageResponse { conversation_id: ingested.conversation.to_string() }))
    }

    async fn report_delivery(
        &self,
        request: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let id = fields.uuid("message_id", &message.message_id);
        let delivery = delivery(&mut fields, message.delivery());
        fields.finish()?;
        let (now, error) = (self.0.clock.now(), clean(&message.error));
        self.0
            .database
            .transaction("report delivery", async |tx: &mut PgConnection| {
                flow::deliver::note(tx, account, id, delivery, &error, now).await
            })
            .await
            .map_err(|error: Error| Fault::from(error))?;
        Ok(Response::new(ReportDeliveryResponse {}))
    }
}

fn delivery(fields: &mut Fields, state: DeliveryState) -> Delivery {
    let outcome = Delivery::of_proto(state).filter(|delivery| *delivery != Delivery::Pending);
    outcome.unwrap_or_else(|| {
        let names = [Delivery::Sent, Delivery::Failed, Delivery::Unknown].map(|value| value.to_proto().as_str_name());
        fields.refuse("delivery", "FIELD_VALUE", &[("values", names.join(", "))]);
        Delivery::Unknown
    })
}

/// Refuses only what the mailbox service makes itself. What comes from the mail is taken as it is, because a refused mail would
/// be a lost one.
fn incoming(message: &IngestMessageRequest, now: Timestamp) -> Result<Incoming, Fault> {
    let mut fields = Fields::new();
    let account = fields.uuid("account_id", &message.account_id);
    let id = fields.uuid("message_id", &message.message_id);
    let mailbox = fields.uuid("mailbox_id", &message.mailbox_id);
    let mailbox_address = fields.email("mailbox_address", &message.mailbox_address);
    let team = fields.optional_uuid("team_id", &message.team_id);
    let topics = fields.uuids("topic_ids", &message.topic_ids, 0..=MOST_TOPICS);
    let country = (!message.country.is_empty()).then(|| country(&mut fields, "country", &message.country));
    fields.finish()?;
    Ok(Incoming {
        account,
        message: id,
        mailbox,
        mailbox_address,
        team,
        from_email: line(&message.from_email),
        from_name: line(&message.from_name),
        subject: line(&message.subject),
        text: clean(&message.text),
        rfc_message_id: message_id(&message.rfc_message_id),
        nearest_first: references(&message.references),
        attachments: message.attachments.iter().map(attachment).collect(),
        // A clock that runs ahead must not put a mail into the future.
        received_at: message.received_at.as_ref().and_then(from_proto).map_or(now, |received| received.min(now)),
        broken: message.broken,
        automatic: message.automatic,
        country,
        topics,
    })
}

fn attachment(file: &diwan_proto::conversation::v1::Attachment) -> Attachment {
    Attachment {
        name: line(&file.name),
        media_type: line(&file.media_type),
        size: file.size,
        sha256: line(&file.sha256),
    }
}

/// PostgreSQL stores every character but NUL.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// One line without control characters: it may end in a mail header.
fn line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// A Message-ID, or nothing where it could not stand in a header of an answer.
fn message_id(id: &str) -> String {
    let id = line(id);
    if id.len() <= LONGEST_LINE && !id.contains(char::is_whitespace) { id } else { String::new() }
}

fn references(nearest_first: &[String]) -> Vec<String> {
    let known = nearest_first.iter().take(MOST_REFERENCES).map(|id| message_id(id));
    known.filter(|id| !id.is_empty()).collect()
}
