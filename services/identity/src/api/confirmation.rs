//! The confirmation of the owner's address.

use std::time::Duration;

use diwan_access::User as Caller;
use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    ConfirmEmailRequest, ConfirmEmailResponse, ResendEmailConfirmationRequest, ResendEmailConfirmationResponse,
};
use diwan_runtime::clock::after;
use diwan_store::answers::Request as Once;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Api, fields};
use crate::{
    domain::{Account, Refusal, Token, email_key},
    error::Error,
    events,
    store::{
        accounts, confirmations,
        jobs::{Effect, Job},
        users,
    },
    throttle,
};

/// How long a link is good.
pub(super) const LINK_LIFE: Duration = Duration::from_hours(7 * 24);

impl Api {
    pub(super) async fn confirm_address(&self, message: &ConfirmEmailRequest) -> Result<ConfirmEmailResponse, Fault> {
        let mut fields = Fields::new();
        fields::required(&mut fields, "token", &message.token);
        fields.finish()?;
        let token = Token::read(&message.token).ok_or(Error::ConfirmationNotFound)?;
        let now = self.clock.now();
        let confirmed = self.database.transaction("confirm address", async |tx: &mut PgConnection| {
            if !confirmations::is_good(tx, &token, now).await? {
                return Err(Error::ConfirmationNotFound);
            }
            confirm(tx, token.account, now).await?;
            // Again under the lock on the account: the owner may have become another one meanwhile.
            if !confirmations::is_good(tx, &token, now).await? {
                return Err(Error::ConfirmationNotFound);
            }
            users::find(tx, token.account, token.subject).await?.ok_or(Error::ConfirmationNotFound)
        });
        Ok(ConfirmEmailResponse { email: confirmed.await?.email })
    }

    pub(super) async fn ask_to_confirm(
        &self,
        caller: &Caller,
        message: ResendEmailConfirmationRequest,
    ) -> Result<ResendEmailConfirmationResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields.finish()?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "ResendEmailConfirmation", &message).by(caller.user_id);
        let ask = Job::new(account, Effect::SendEmailConfirmation);
        let answer = self
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                if accounts::get_for_update(tx, account).await?.email_confirmed {
                    return Err(Error::Refused(Refusal::EmailConfirmed));
                }
                let owner = users::find(tx, account, caller.user_id).await?.ok_or(Error::UserNotFound)?;
                throttle::count(tx, &self.limits.asked_mail(&email_key(&owner.email)), now).await?;
                confirmations::renew(tx, account, caller.user_id, after(now, LINK_LIFE)).await?;
                self.effects.leave(tx, &ask).await?;
                Ok(ResendEmailConfirmationResponse {})
            })
            .await?;
        self.effects.wake();
        Ok(answer)
    }
}

/// Confirms the address of an account's owner, if it is not confirmed.
pub(super) async fn confirm(tx: &mut PgConnection, id: Uuid, now: Timestamp) -> Result<(), Error> {
    let account = accounts::get_for_update(tx, id).await?;
    if account.email_confirmed {
        return Ok(());
    }
    let account = Account { email_confirmed: true, version: account.version + 1, ..account };
    accounts::update(tx, &account, now).await?;
    events::account_changed(tx, &account, now).await
}
