//! Inviting a person, and his acceptance.

use std::time::Duration;

use diwan_access::User as Caller;
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, InviteUserRequest, InviteUserResponse, UserState,
};
use diwan_runtime::clock::after;
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Api, closing::require_open, encode, fields};
use crate::{
    domain::{Profile, Token, User, email_key, invited_user_id},
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

/// How long an invitation is good.
const LIFE: Duration = Duration::from_hours(7 * 24);

/// When an invitation that is sent now expires.
pub(super) fn expiry(now: Timestamp) -> Timestamp {
    after(now, LIFE)
}

impl Api {
    pub(super) async fn invite(
        &self,
        caller: &Caller,
        message: InviteUserRequest,
    ) -> Result<InviteUserResponse, Fault> {
        let (request_id, user, teams) = self.read_invitation(caller, &message).await?;
        let once = Once::new(caller.account_id, &request_id, "InviteUser", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let subjects = self.limits.invitation(caller.account_id);
        self.admit(&subjects).await?;
        self.effects.peers.require_teams(user.account_id, &teams).await?;
        let lease = seat_lease(expiry(user.created_at));
        let add = self.add_invited(&once, &user, &teams);
        let added = self.seated(user.account_id, user.id, Some(lease), add).await;
        let answer = self.counting_taken(&subjects, added).await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn add_invited(&self, once: &Once, user: &User, teams: &[Uuid]) -> Result<InviteUserResponse, Error> {
        let (now, expires_at, email) = (user.created_at, expiry(user.created_at), email_key(&user.email));
        let send = Job::new(user.account_id, Effect::SendInvitation { user_id: user.id });
        self.database
            .answer_once(once, now, async |tx: &mut PgConnection| {
                require_open(tx, user.account_id).await?;
                accounts::reserve_email(tx, &email, user.account_id, user.id).await?;
                throttle::count(tx, &self.limits.asked_mail(&email), now).await?;
                users::insert(tx, user, None).await?;
                invitations::insert(tx, user.account_id, user.id, teams, expires_at).await?;
                events::user_changed(tx, user, now).await?;
                self.effects.leave(tx, &send).await?;
                Ok(InviteUserResponse { user: Some(encode::user(user)), expires_at: Some(to_proto(expires_at)) })
            })
            .await
    }

    async fn read_invitation(
        &self,
        caller: &Caller,
        message: &InviteUserRequest,
    ) -> Result<(String, User, Vec<Uuid>), Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let teams = fields::teams(&mut fields, &message.team_ids);
        let language = match message.language.as_str() {
            "" => self.account(caller.account_id).await?.language,
            tag => fields.language("language", tag),
        };
        let user = User {
            id: invited_user_id(caller.account_id, &request_id),
            account_id: caller.account_id,
            name: fields.line("name", &message.name, 1..=200),
            email: fields.email("email", &message.email),
            role: fields::role(&mut fields, message.role),
            grants: fields::grants(&mut fields, &message.grants),
            language,
            state: UserState::Invited,
            has_password: false,
            epoch: 0,
            version: 1,
            created_at: self.clock.now(),
            profile: Profile {
                phone: fields::optional_phone_number(&mut fields, "phone", &message.phone),
                ..Profile::default()
            },
        };
        fields.finish()?;
        Ok((request_id, user, teams))
    }

    pub(super) async fn accept(&self, mut message: AcceptInvitationRequest) -> Result<AcceptInvitationResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let now = self.clock.now();
        let token = Token::read(&message.token);
        let open = match &token {
            Some(token) => self.open_invitation(token, now).await?,
            None => None,
        };
        // Without a token nothing is computed for whoever asks.
        let weaknesses = match &open {
            Some(user) => self.weaknesses(&password, &[&user.name, &user.email]).await?,
            None => Vec::new(),
        };
        let mut fields = Fields::new();
        fields::required(&mut fields, "token", &message.token);
        fields::new_password(&mut fields, "password", &password, &weaknesses);
        fields.finish()?;
        let (Some(token), Some(_)) = (token, open) else { return Err(Error::InvitationNotFound.into()) };
        let hash = self.passwords.hash(password).await?;
        let settle = Job::new(token.account, Effect::SettleSeat { user_id: token.subject });
        let (user, join) = self
            .database
            .transaction("accept invitation", async |tx: &mut PgConnection| {
                let (user, teams) = self.accepted(tx, &token, &hash, now).await?;
                let join = Job::new(user.account_id, Effect::JoinTeams { user_id: user.id, team_ids: teams });
                self.effects.queue(tx, &join).await?;
                self.effects.queue(tx, &settle).await?;
                Ok::<_, Error>((user, join))
            })
            .await?;
        futures::join!(self.effects.run(&join), self.effects.run(&settle));
        Ok(AcceptInvitationResponse { user: Some(encode::user(&user)) })
    }

    /// Whom the token invites now.
    async fn open_invitation(&self, token: &Token, now: Timestamp) -> Result<Option<User>, Error> {
        let mut connection = self.database.pool().acquire().await?;
        if !invitations::is_open(&mut connection, token, now).await? {
            return Ok(None);
        }
        users::find(&mut connection, token.account, token.subject).await
    }

    async fn accepted(
        &self,
        tx: &mut PgConnection,
        token: &Token,
        hash: &str,
        now: Timestamp,
    ) -> Result<(User, Vec<Uuid>), Error> {
        let user = users::find_for_update(tx, token.account, token.subject).await?.ok_or(Error::InvitationNotFound)?;
        if user.state != UserState::Invited {
            return Err(Error::InvitationNotFound);
        }
        let teams = invitations::take(tx, token, now).await?;
        let user = user.accepted();
        users::update(tx, &user, Some(hash)).await?;
        events::user_changed(tx, &user, now).await?;
        Ok((user, teams))
    }
}
