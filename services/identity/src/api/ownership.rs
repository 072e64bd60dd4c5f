//! Handing the ownership over.
//!
//! Exactly one user of an account is its owner at every instant: both roles change in one transaction, with both users
//! locked, and a unique index refuses a second owner whatever the code does.

use std::time::Duration;

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    AcceptOwnershipRequest, AcceptOwnershipResponse, EndOwnershipOfferRequest, EndOwnershipOfferResponse,
    GetOwnershipOfferRequest, GetOwnershipOfferResponse, OfferOwnershipRequest, OfferOwnershipResponse,
    ownership_service_server::OwnershipService,
};
use diwan_runtime::clock::after;
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, confirmation::confirm, encode, fields, role::apply};
use crate::{
    client::Client,
    domain::{User, handed_over},
    error::Error,
    store::{
        confirmations,
        jobs::{Effect, Job},
        offers::{self, Offer},
        principals, users,
    },
};

/// How long an offer is good.
const LIFE: Duration = Duration::from_hours(7 * 24);

#[tonic::async_trait]
impl OwnershipService for Api {
    async fn offer_ownership(
        &self,
        request: Request<OfferOwnershipRequest>,
    ) -> Result<Response<OfferOwnershipResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.offer(&caller, &client, request.into_inner()).await?))
    }

    async fn get_ownership_offer(
        &self,
        request: Request<GetOwnershipOfferRequest>,
    ) -> Result<Response<GetOwnershipOfferResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut connection = self.database.pool().acquire().await.map_err(Error::from).map_err(Fault::from)?;
        let offer = offers::find(&mut connection, account, self.clock.now()).await.map_err(Fault::from)?;
        let offer = offer.ok_or(Error::OwnershipOfferNotFound).map_err(Fault::from)?;
        Ok(Response::new(GetOwnershipOfferResponse { offer: Some(encode::offer(&offer)) }))
    }

    async fn accept_ownership(
        &self,
        request: Request<AcceptOwnershipRequest>,
    ) -> Result<Response<AcceptOwnershipResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.inherit(&caller, request.into_inner()).await?))
    }

    async fn end_ownership_offer(
        &self,
        request: Request<EndOwnershipOfferRequest>,
    ) -> Result<Response<EndOwnershipOfferResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.end_offer(&caller, request.into_inner()).await?))
    }
}

impl Api {
    async fn offer(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: OfferOwnershipRequest,
    ) -> Result<OfferOwnershipResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let user_id = fields.uuid("user_id", &message.user_id);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let (account, owner_id, now) = (caller.account_id, caller.user_id, self.clock.now());
        let once = Once::new(account, &request_id, "OfferOwnership", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(&self.find(account, owner_id).await?, client, password).await?;
        let offer = Offer { owner_id, user_id, expires_at: after(now, LIFE) };
        let send = Job::new(account, Effect::SendOwnershipOffer { user_id });
        let answer = self
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let (owner, admin) = both(tx, account, owner_id, user_id).await?;
                admin.may_inherit(&owner).map_err(Error::Refused)?;
                offers::put(tx, account, &offer).await?;
                self.effects.leave(tx, &send).await?;
                Ok::<_, Error>(OfferOwnershipResponse { offer: Some(encode::offer(&offer)) })
            })
            .await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn inherit(
        &self,
        caller: &Caller,
        message: AcceptOwnershipRequest,
    ) -> Result<AcceptOwnershipResponse, Fault> {
        let request_id = request_id(&message.request_id)?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "AcceptOwnership", &message).by(caller.user_id);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            // Read without a lock, since users are locked first; that it is still there shows when it is taken.
            let offer = offers::find(tx, account, now).await?.filter(|offer| offer.user_id == caller.user_id);
            let offer = offer.ok_or(Error::OwnershipOfferNotFound)?;
            let (owner, admin) = both(tx, account, offer.owner_id, offer.user_id).await?;
            if !offers::take(tx, account, &offer).await? {
                return Err(Error::OwnershipOfferNotFound);
            }
            let (former, new) = handed_over(&owner, &admin).map_err(Error::Refused)?;
            hand_over(tx, &former, &new, now).await?;
            Ok(AcceptOwnershipResponse { owner: Some(encode::user(&new)), former_owner: Some(encode::user(&former)) })
        });
        Ok(answer.await?)
    }

    async fn end_offer(
        &self,
        caller: &Caller,
        message: EndOwnershipOfferRequest,
    ) -> Result<EndOwnershipOfferResponse, Fault> {
        let request_id = request_id(&message.request_id)?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "EndOwnershipOffer", &message).by(caller.user_id);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let ended = offers::end_of(tx, account, caller.user_id).await?;
            if ended { Ok(EndOwnershipOfferResponse {}) } else { Err(Error::OwnershipOfferNotFound) }
        });
        Ok(answer.await?)
    }
}

/// The owner first: the index would refuse two of them even for a moment. The new owner has confirmed his address when he
/// accepted his invitation.
async fn hand_over(tx: &mut PgConnection, former: &User, new: &User, now: Timestamp) -> Result<(), Error> {
    apply(tx, former, now).await?;
    apply(tx, new, now).await?;
    principals::forget_own_names(tx, new.account_id, new.id).await?;
    confirm(tx, new.account_id, now).await?;
    confirmations::forget(tx, new.account_id).await
}

async fn both(tx: &mut PgConnection, account: Uuid, owner: Uuid, admin: Uuid) -> Result<(User, User), Error> {
    users::lock_all(tx, account, &[owner, admin]).await?;
    let owner = users::find(tx, account, owner).await?.ok_or(Error::UserNotFound)?;
    let admin = users::find(tx, account, admin).await?.ok_or(Error::UserNotFound)?;
    Ok((owner, admin))
}

fn request_id(value: &str) -> Result<String, Fault> {
    let mut fields = Fields::new();
    let request_id = fields.request_id(value);
    fields.finish()?;
    Ok(request_id)
}
