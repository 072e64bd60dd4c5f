//! Mail that other services send by a mailbox.

use diwan_fault::{Fault, Fields};
use diwan_feed::Record;
use diwan_proto::mailbox::v1::{SendMailRequest, SendMailResponse, send_service_server::SendService};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    domain::outgoing::is_id,
    error::Error,
    shared::FLEET,
    store::{
        closed, leases, mailboxes,
        outgoing::{self, NewOutgoing},
    },
};

/// The most Message-IDs of a thread; conversation names 20.
const LONGEST_THREAD: usize = 100;

#[tonic::async_trait]
impl SendService for Api {
    async fn send_mail(&self, request: Request<SendMailRequest>) -> Result<Response<SendMailResponse>, Status> {
        let mail = decode(request.into_inner())?;
        self.accept(&mail).await.map_err(Fault::from)?;
        self.0.database.wake().ring(FLEET);
        Ok(Response::new(SendMailResponse {}))
    }
}

impl Api {
    async fn accept(&self, mail: &NewOutgoing) -> Result<(), Error> {
        let now = self.0.clock.now();
        let accepted = self.0.database.transaction("SendMail", async |tx: &mut PgConnection| {
            let mailbox = mailboxes::find(tx, mail.account_id, mail.mailbox_id).await?;
            if mailbox.is_none() || closed::is_closed(tx, mail.account_id).await? {
                return Err(Error::MailboxNotFound);
            }
            outgoing::insert(tx, mail, now).await?;
            let accepted = Record::of("diwan.conversation.v1.Message", mail.message_id);
            diwan_feed::record(tx, mail.account_id, now, &accepted).await?;
            Ok(leases::want_sending(tx, mail.mailbox_id).await?)
        });
        accepted.await
    }
}

fn decode(message: SendMailRequest) -> Result<NewOutgoing, Fault> {
    let mut fields = Fields::new();
    fields.entries("references", message.references.len(), 0..=LONGEST_THREAD);
    if !is_id(&message.rfc_message_id) {
        fields.refuse("rfc_message_id", "FIELD_VALUE", &[("values", "id@example.com".to_owned())]);
    }
    let mail = NewOutgoing {
        account_id: fields.uuid("account_id", &message.account_id),
        message_id: fields.uuid("message_id", &message.message_id),
        mailbox_id: fields.uuid("mailbox_id", &message.mailbox_id),
        to_email: fields.email("to_email", &message.to_email),
        to_name: fields.line("to_name", &message.to_name, 0..=200),
        subject: fields.line("subject", &message.subject, 0..=1000),
        body: fields.text("text", &message.text, 0..=1_000_000),
        // From customers' mail: what cannot stand in a header is left out when the mail is built, not refused.
        in_reply_to: message.in_reply_to.replace('\0', ""),
        thread: message.references.into_iter().take(LONGEST_THREAD).map(|id| id.replace('\0', "")).collect(),
        rfc_message_id: message.rfc_message_id,
        automatic: message.automatic,
    };
    fields.finish()?;
    Ok(mail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_million_references_the_list_is_named_and_nothing_in_it() {
        let id = "019a0000-0000-7000-8000-000000000000".to_owned();
        let mail = SendMailRequest {
            account_id: id.clone(),
            message_id: id.clone(),
            mailbox_id: id,
            to_email: "ana@example.com".into(),
            rfc_message_id: "answer@example.com".into(),
            references: vec!["a@b".into(); LONGEST_THREAD],
            ..SendMailRequest::default()
        };
        assert_eq!(decode(mail.clone()).unwrap().thread.len(), LONGEST_THREAD);
        let long = SendMailRequest { references: vec![String::new(); 1_000_000], ..mail };
        let refused = decode(long).unwrap_err();
        let named: Vec<_> = refused.fields().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["references"]);
    }
}
