//! A person's own WhatsApp number.

use std::time::Duration;

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    ConfirmWhatsAppNumberRequest, ConfirmWhatsAppNumberResponse, GetWhatsAppNumberRequest, GetWhatsAppNumberResponse,
    RemoveWhatsAppNumberRequest, RemoveWhatsAppNumberResponse, SetWhatsAppNumberRequest, SetWhatsAppNumberResponse,
    whats_app_number_service_server::WhatsAppNumberService,
};
use diwan_runtime::{clock::after, ids};
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, fields};
use crate::{
    alerts::{self, Alert, Way},
    client::Client,
    codes,
    domain::{Bound, Code, PhoneNumber, Purpose},
    error::Error,
    events,
    factors::{self, Whose},
    passwords::Password,
    store::{
        jobs::{Effect, Job},
        numbers::{self, Pending},
        users,
    },
    throttle,
};

/// For how long a number waits for its code.
const WAIT: Duration = Duration::from_mins(10);

#[tonic::async_trait]
impl WhatsAppNumberService for Api {
    async fn get_whats_app_number(
        &self,
        request: Request<GetWhatsAppNumberRequest>,
    ) -> Result<Response<GetWhatsAppNumberResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.own_number(&caller).await.map_err(Fault::from)?))
    }

    async fn set_whats_app_number(
        &self,
        request: Request<SetWhatsAppNumberRequest>,
    ) -> Result<Response<SetWhatsAppNumberResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.propose_number(&caller, &client, request.into_inner()).await?))
    }

    async fn confirm_whats_app_number(
        &self,
        request: Request<ConfirmWhatsAppNumberRequest>,
    ) -> Result<Response<ConfirmWhatsAppNumberResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.confirm_number(&caller, &client, request.into_inner()).await?))
    }

    async fn remove_whats_app_number(
        &self,
        request: Request<RemoveWhatsAppNumberRequest>,
    ) -> Result<Response<RemoveWhatsAppNumberResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.remove_number(&caller, &client, request.into_inner()).await?))
    }
}

impl Api {
    async fn own_number(&self, caller: &Caller) -> Result<GetWhatsAppNumberResponse, Error> {
        let mut connection = self.database.pool().acquire().await?;
        let found = numbers::find(&mut connection, caller.account_id, caller.user_id).await?;
        let (number, at) = found.confirmed.unzip();
        let pending = found.pending.filter(|pending| pending.until > self.clock.now());
        Ok(GetWhatsAppNumberResponse {
            number: number.map_or_else(String::new, |number| number.as_str().to_owned()),
            confirmed_at: at.map(to_proto),
            confirmation_id: pending.as_ref().map_or_else(String::new, |pending| pending.confirmation.to_string()),
            pending_number: pending.map_or_else(String::new, |pending| pending.number.as_str().to_owned()),
        })
    }

    async fn propose_number(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: SetWhatsAppNumberRequest,
    ) -> Result<SetWhatsAppNumberResponse, Fault> {
        let password = fields::take_password(&mut message.current_password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields::required(&mut fields, "current_password", &password);
        let number = fields::phone_number(&mut fields, "number", &message.number);
        fields.finish()?;
        let Some(number) = number else { return Err(Error::Unreadable("number").into()) };
        let (account, user) = (caller.account_id, caller.user_id);
        let once = Once::new(account, &request_id, "SetWhatsAppNumber", &message).by(user);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.prove(caller, client, password).await?;
        throttle::fail(&self.database, &self.limits.number_code(user, &number), self.clock.now()).await?;
        let now = self.clock.now();
        let pending = Pending { number, confirmation: ids::new_id(), until: after(now, WAIT) };
        let send = Effect::SendNumberCode { user_id: user, confirmation_id: pending.confirmation };
        let send = Job::new(account, send);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            users::find_for_update(tx, account, user).await?;
            numbers::propose(tx, account, user, &pending).await?;
            self.effects.leave(tx, &send).await?;
            let confirmation_id = pending.confirmation.to_string();
            Ok::<_, Error>(SetWhatsAppNumberResponse { confirmation_id, expires_at: Some(to_proto(pending.until)) })
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn confirm_number(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: ConfirmWhatsAppNumberRequest,
    ) -> Result<ConfirmWhatsAppNumberResponse, Fault> {
        let code = fields::take_password(&mut message.code);
        let mut fields = Fields::new();
        let confirmation = fields.uuid("confirmation_id", &message.confirmation_id);
        fields::required(&mut fields, "code", &code);
        fields.finish()?;
        let subjects = self.limits.code(caller.user_id, client.address);
        self.admit(&subjects).await?;
        let (code, now) = (Code::typed(&code), self.clock.now());
        let confirmed = self.database.transaction("confirm number", async |tx: &mut PgConnection| {
            let whose = Whose { account: caller.account_id, user: caller.user_id };
            redeem(tx, whose, confirmation, &code, now).await
        });
        // A right one wipes nothing out: it went to a number that anybody with the password may have named.
        let Some(number) = confirmed.await? else {
            throttle::fail(&self.database, &subjects, self.clock.now()).await?;
            return Err(Error::NumberCodeRefused.into());
        };
        self.effects.wake();
        Ok(ConfirmWhatsAppNumberResponse { number: number.as_str().to_owned() })
    }

    async fn remove_number(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: RemoveWhatsAppNumberRequest,
    ) -> Result<RemoveWhatsAppNumberResponse, Fault> {
        let password = fields::take_password(&mut message.current_password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields::required(&mut fields, "current_password", &password);
        fields.finish()?;
        let (account, user) = (caller.account_id, caller.user_id);
        let once = Once::new(account, &request_id, "RemoveWhatsAppNumber", &message).by(user);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.prove(caller, client, password).await?;
        let now = self.clock.now();
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            users::find_for_update(tx, account, user).await?;
            if numbers::is_factor(tx, account, user).await? {
                return Err(Error::NumberNeeded);
            }
            let had = numbers::confirmed(tx, account, user).await?;
            if !numbers::remove(tx, account, user).await? {
                return Err(Error::NumberNotFound);
            }
            if had.is_some() {
                alerts::queue_by(tx, account, user, Alert::FactorChanged, Way::Mail, now).await?;
            }
            Ok(RemoveWhatsAppNumberResponse {})
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    /// Codes go to the number: a stolen access token must not be enough to take them elsewhere.
    async fn prove(&self, caller: &Caller, client: &Client, password: Password) -> Result<(), Error> {
        let user = self.find(caller.account_id, caller.user_id).await?;
        self.require_password(&user, client, password).await?;
        Ok(())
    }
}

/// Makes the number that waits its user's if this is its code; `None` is a refusal, which is committed all the same: it counts as a try.
/// The alert goes by e-mail: who has taken an account over can change the number, but not the address.
pub(super) async fn redeem(
    tx: &mut PgConnection,
    whose: Whose,
    confirmation: Uuid,
    code: &Code,
    now: Timestamp,
) -> Result<Option<PhoneNumber>, Error> {
    let Whose { account, user } = whose;
    users::find_for_update(tx, account, user).await?;
    let pending = numbers::find(tx, account, user).await?.pending;
    let pending = pending.filter(|pending| pending.confirmation == confirmation && pending.until > now);
    let number = pending.ok_or(Error::NumberConfirmationNotFound)?.number;
    let bound = Bound { account, purpose: Purpose::ConfirmNumber, request: confirmation };
    if !codes::redeem(tx, &bound, code, now).await? {
        return Ok(None);
    }
    numbers::confirm(tx, account, user, now).await?;
    if numbers::is_factor(tx, account, user).await? {
        factors::forget_trust(tx, whose).await?;
    }
    events::happened(tx, "WHATSAPP_NUMBER_CONFIRMED", account, user, now).await?;
    alerts::queue_by(tx, account, user, Alert::FactorChanged, Way::Mail, now).await?;
    Ok(Some(number))
}
