//! What other services have people told of.

use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    AlertMailboxNeedsCredentialsRequest, AlertMailboxNeedsCredentialsResponse, AlertPaymentFailedRequest,
    AlertPaymentFailedResponse, UserState, alert_service_server::AlertService,
};
use diwan_store::answers::Request as Once;
use prost::{Message, Name};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Api;
use crate::{
    alerts::{self, Alert},
    error::Error,
    store::{recipients, users},
};

#[tonic::async_trait]
impl AlertService for Api {
    async fn alert_mailbox_needs_credentials(
        &self,
        request: Request<AlertMailboxNeedsCredentialsRequest>,
    ) -> Result<Response<AlertMailboxNeedsCredentialsResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let account = fields.uuid("account_id", &message.account_id);
        let mailbox = fields.email("address", &message.address);
        let user = fields.optional_uuid("user_id", &message.user_id);
        fields.finish()?;
        let once = Once::new(account, &request_id, "AlertMailboxNeedsCredentials", &message);
        let alert = Alert::MailboxNeedsCredentials { mailbox };
        let mut connection = self.database.pool().acquire().await.map_err(Error::from).map_err(Fault::from)?;
        let recipients = match user {
            Some(user) => one(&mut connection, account, user).await,
            None => recipients::administrators(&mut connection, account).await,
        };
        drop(connection);
        let recipients = recipients.map_err(Fault::from)?;
        Ok(Response::new(self.tell_once(&once, account, &recipients, &alert).await?))
    }

    async fn alert_payment_failed(
        &self,
        request: Request<AlertPaymentFailedRequest>,
    ) -> Result<Response<AlertPaymentFailedResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let account = fields.uuid("account_id", &message.account_id);
        let invoice = fields.line("invoice", &message.invoice, 1..=64);
        let amount = fields.line("amount", &message.amount, 1..=64);
        fields.finish()?;
        let once = Once::new(account, &request_id, "AlertPaymentFailed", &message);
        let alert = Alert::PaymentFailed { invoice, amount };
        let mut connection = self.database.pool().acquire().await.map_err(Error::from).map_err(Fault::from)?;
        let recipients = recipients::payers(&mut connection, account).await.map_err(Fault::from)?;
        drop(connection);
        Ok(Response::new(self.tell_once(&once, account, &recipients, &alert).await?))
    }
}

impl Api {
    /// Queues an alert to each recipient, once for the request.
    async fn tell_once<A: Message + Name + Default>(
        &self,
        once: &Once,
        account: Uuid,
        recipients: &[Uuid],
        alert: &Alert,
    ) -> Result<A, Fault> {
        let now = self.clock.now();
        let answer = self.database.answer_once(once, now, async |tx: &mut PgConnection| {
            for user in recipients {
                alerts::queue(tx, account, *user, alert.clone(), now).await?;
            }
            Ok::<_, Error>(A::default())
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }
}

/// One who may sign in. Of one who may not, nobody hears.
async fn one(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<Vec<Uuid>, Error> {
    let user = users::find(tx, account, user).await?.ok_or(Error::UserNotFound)?;
    Ok(if user.state == UserState::Active { vec![user.id] } else { Vec::new() })
}
