//! Invitations that nobody has accepted yet.

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    CorrectInvitationRequest, CorrectInvitationResponse, Invitation, ListInvitationsRequest, ListInvitationsResponse,
    ResendInvitationRequest, ResendInvitationResponse, UserState, WithdrawInvitationRequest,
    WithdrawInvitationResponse, invitation_service_server::InvitationService,
};
use diwan_store::{
    Page,
    answers::{self, Request as Once},
};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, closing::require_open, encode, invitation::expiry, standing};
use crate::{
    domain::{User, email_key},
    effects::seat_lease,
    error::Error,
    events,
    store::{
        accounts, invitations,
        jobs::{Effect, Job},
        users,
    },
    throttle,
};

#[tonic::async_trait]
impl InvitationService for Api {
    async fn list_invitations(
        &self,
        request: Request<ListInvitationsRequest>,
    ) -> Result<Response<ListInvitationsResponse>, Status> {
        let account = user(&request)?.account_id;
        Ok(Response::new(self.open_invitations(account, &request.into_inner()).await?))
    }

    async fn resend_invitation(
        &self,
        request: Request<ResendInvitationRequest>,
    ) -> Result<Response<ResendInvitationResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.resend(&caller, request.into_inner()).await?))
    }

    async fn correct_invitation(
        &self,
        request: Request<CorrectInvitationRequest>,
    ) -> Result<Response<CorrectInvitationResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.correct(&caller, request.into_inner()).await?))
    }

    async fn withdraw_invitation(
        &self,
        request: Request<WithdrawInvitationRequest>,
    ) -> Result<Response<WithdrawInvitationResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.withdraw(&caller, request.into_inner()).await?))
    }
}

impl Api {
    async fn open_invitations(
        &self,
        account: Uuid,
        message: &ListInvitationsRequest,
    ) -> Result<ListInvitationsResponse, Fault> {
        let mut fields = Fields::new();
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListInvitations", account), message.page.as_ref());
        fields.finish()?;
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let invited = Some(UserState::Invited);
        let found = users::list(&mut connection, account, invited, page.after(), page.limit()).await?;
        let (invited, info) = page.finish(found, |user| (user.created_at, user.id));
        let ids: Vec<Uuid> = invited.iter().map(|user| user.id).collect();
        let details = invitations::of_users(&mut connection, account, &ids).await?;
        // Who has accepted between the two reads is left out.
        let invitations = invited.iter().filter_map(|user| {
            details.get(&user.id).map(|(teams, expires_at)| encode::invitation(user, teams, *expires_at))
        });
        Ok(ListInvitationsResponse { invitations: invitations.collect(), page: Some(info) })
    }

    async fn resend(
        &self,
        caller: &Caller,
        message: ResendInvitationRequest,
    ) -> Result<ResendInvitationResponse, Fault> {
        let (request_id, id) = standing::read(&message.request_id, &message.user_id)?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "ResendInvitation", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let renew = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let user = users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)?;
            user.require_invited().map_err(Error::Refused)?;
            require_open(tx, account).await?;
            Ok(ResendInvitationResponse { invitation: Some(self.renewed(tx, &user, now).await?) })
        });
        Ok(self.invited(account, id, now, renew).await?)
    }

    async fn correct(
        &self,
        caller: &Caller,
        message: CorrectInvitationRequest,
    ) -> Result<CorrectInvitationResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("user_id", &message.user_id);
        let email = fields.email("email", &message.email);
        fields.finish()?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "CorrectInvitation", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let subjects = self.limits.invitation(account);
        self.admit(&subjects).await?;
        let renew = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let before = users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)?;
            let user = before.readdressed(&email).map_err(Error::Refused)?;
            require_open(tx, account).await?;
            move_address(tx, &before, &user).await?;
            events::user_changed(tx, &user, now).await?;
            Ok(CorrectInvitationResponse { invitation: Some(self.renewed(tx, &user, now).await?) })
        });
        let corrected = self.invited(account, id, now, renew).await;
        Ok(self.counting_taken(&subjects, corrected).await?)
    }

    /// Makes a change that gives an invitation a new life, with the seat leased for as long.
    async fn invited<A>(
        &self,
        account: Uuid,
        id: Uuid,
        now: Timestamp,
        renew: impl Future<Output = Result<A, Error>> + Send,
    ) -> Result<A, Error> {
        // A refusal here spares billing a seat; what counts is decided again under the lock.
        self.find(account, id).await?.require_invited().map_err(Error::Refused)?;
        let answer = self.seated(account, id, Some(seat_lease(expiry(now))), renew).await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn renewed(&self, tx: &mut PgConnection, user: &User, now: Timestamp) -> Result<Invitation, Error> {
        throttle::count(tx, &self.limits.asked_mail(&email_key(&user.email)), now).await?;
        invitations::renew(tx, user.account_id, user.id, expiry(now)).await?;
        let send = Job::new(user.account_id, Effect::SendInvitation { user_id: user.id });
        self.effects.leave(tx, &send).await?;
        let details = invitations::of_users(tx, user.account_id, &[user.id]).await?;
        let (teams, expires_at) = details.get(&user.id).ok_or(Error::InvitationNotFound)?;
        Ok(encode::invitation(user, teams, *expires_at))
    }

    async fn withdraw(
        &self,
        caller: &Caller,
        message: WithdrawInvitationRequest,
    ) -> Result<WithdrawInvitationResponse, Fault> {
        let (request_id, id) = standing::read(&message.request_id, &message.user_id)?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "WithdrawInvitation", &message).by(caller.user_id);
        let settle = Job::new(account, Effect::SettleSeat { user_id: id });
        let answer = self
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let before = users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)?;
                let user = before.uninvited().map_err(Error::Refused)?;
                standing::cut_access(tx, &before, &user, now).await?;
                self.effects.queue(tx, &settle).await?;
                Ok::<_, Error>(WithdrawInvitationResponse { user: Some(encode::user(&user)) })
            })
            .await?;
        self.effects.run(&settle).await;
        Ok(answer)
    }
}

/// Another spelling of the same address is the same reservation.
async fn move_address(tx: &mut PgConnection, before: &User, after: &User) -> Result<(), Error> {
    let (old, new) = (email_key(&before.email), email_key(&after.email));
    if old != new {
        accounts::reserve_email(tx, &new, after.account_id, after.id).await?;
        accounts::release_email(tx, &old, after.account_id, after.id).await?;
    }
    users::set_email(tx, after).await
}
