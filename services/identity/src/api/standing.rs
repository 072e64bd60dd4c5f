//! Ending and giving back a user's access.

use diwan_access::User as Caller;
use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    DeactivateUserRequest, DeactivateUserResponse, ReactivateUserRequest, ReactivateUserResponse, RevocationSubject,
    UserState,
};
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Api, closing::require_open, encode, invitation::expiry};
use crate::{
    domain::{User, email_key},
    effects::seat_lease,
    error::Error,
    events,
    factors::{self, Whose},
    recovery,
    store::{
        accounts, invitations,
        jobs::{Effect, Job},
        offers, passwords, revocations, sessions, users,
    },
    throttle,
};

impl Api {
    pub(super) async fn deactivate(
        &self,
        caller: &Caller,
        message: DeactivateUserRequest,
    ) -> Result<DeactivateUserResponse, Fault> {
        let (request_id, id) = read(&message.request_id, &message.user_id)?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "DeactivateUser", &message).by(caller.user_id);
        let settle = Job::new(account, Effect::SettleSeat { user_id: id });
        let answer = self
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let before = users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)?;
                let after = before.deactivated(caller.user_id).map_err(Error::Refused)?;
                if let Some(user) = &after {
                    cut_access(tx, &before, user, now).await?;
                    self.effects.queue(tx, &settle).await?;
                }
                let user = Some(encode::user(after.as_ref().unwrap_or(&before)));
                Ok::<_, Error>(DeactivateUserResponse { user })
            })
            .await?;
        self.effects.run(&settle).await;
        Ok(answer)
    }

    pub(super) async fn reactivate(
        &self,
        caller: &Caller,
        message: ReactivateUserRequest,
    ) -> Result<ReactivateUserResponse, Fault> {
        let (request_id, id) = read(&message.request_id, &message.user_id)?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "ReactivateUser", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        // A refusal here spares billing a seat; what counts is decided again under the lock.
        let user = self.find(account, id).await?.reactivated().map_err(Error::Refused)?;
        let lease = (user.state == UserState::Invited).then(|| seat_lease(expiry(now)));
        let restore = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let user = users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)?;
            let user = user.reactivated().map_err(Error::Refused)?;
            self.give_access(tx, &user, now).await?;
            Ok(ReactivateUserResponse { user: Some(encode::user(&user)) })
        });
        let subjects = self.limits.invitation(account);
        self.admit(&subjects).await?;
        let restored = self.seated(account, id, lease, restore).await;
        let answer = self.counting_taken(&subjects, restored).await?;
        self.effects.wake();
        Ok(answer)
    }

    /// A user of the account.
    pub(super) async fn find(&self, account: Uuid, id: Uuid) -> Result<User, Error> {
        let mut connection = self.database.pool().acquire().await?;
        users::find(&mut connection, account, id).await?.ok_or(Error::UserNotFound)
    }

    async fn give_access(&self, tx: &mut PgConnection, user: &User, now: Timestamp) -> Result<(), Error> {
        require_open(tx, user.account_id).await?;
        users::update(tx, user, None).await?;
        events::user_changed(tx, user, now).await?;
        if user.state == UserState::Invited {
            accounts::reserve_email(tx, &email_key(&user.email), user.account_id, user.id).await?;
            throttle::count(tx, &self.limits.asked_mail(&email_key(&user.email)), now).await?;
            invitations::renew(tx, user.account_id, user.id, expiry(now)).await?;
            let send = Job::new(user.account_id, Effect::SendInvitation { user_id: user.id });
            self.effects.leave(tx, &send).await?;
        }
        Ok(())
    }
}

/// State, epoch, revocation and event in one transaction: no token of the user outlives it unnoticed. The address of who never
/// accepted his invitation is free again.
pub async fn cut_access(tx: &mut PgConnection, before: &User, user: &User, now: Timestamp) -> Result<(), Error> {
    users::update(tx, user, None).await?;
    if before.state == UserState::Invited {
        accounts::release_email(tx, &email_key(&user.email), user.account_id, user.id).await?;
    }
    offers::end_of(tx, user.account_id, user.id).await?;
    sessions::end_all(tx, user.account_id, user.id, now).await?;
    let whose = Whose { account: user.account_id, user: user.id };
    factors::forget_trust(tx, whose).await?;
    recovery::stop(tx, whose, now).await?;
    passwords::withdraw_resets(tx, user.account_id, user.id).await?;
    invitations::renew(tx, user.account_id, user.id, now).await?;
    revocations::insert(tx, user.account_id, (RevocationSubject::User, user.id), user.epoch, now).await?;
    events::user_changed(tx, user, now).await
}

pub(super) fn read(request_id: &str, user_id: &str) -> Result<(String, Uuid), Fault> {
    let mut fields = Fields::new();
    let request_id = fields.request_id(request_id);
    let id = fields.uuid("user_id", user_id);
    fields.finish()?;
    Ok((request_id, id))
}
