//! A person's own password and sessions.

use std::time::Duration;

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    ChangePasswordRequest, ChangePasswordResponse, ListSessionsRequest, ListSessionsResponse,
    RequestPasswordResetRequest, RequestPasswordResetResponse, ResetPasswordRequest, ResetPasswordResponse,
    RevocationSubject, RevokeSessionRequest, RevokeSessionResponse, Session, UserState,
    credential_service_server::CredentialService,
};
use diwan_runtime::clock::after;
use diwan_store::{
    Page,
    answers::{self, Request as Once},
};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, account::strangers_id, fields, session::end_session};
use crate::{
    alerts::{self, Alert},
    client::Client,
    domain::{Token, User, email_key},
    error::Error,
    events,
    factors::{self, Whose},
    passwords::Password,
    store::{
        jobs::{Effect, Job},
        passwords, revocations, sessions, users,
    },
    throttle,
};

/// How long a link to choose a new password is good.
const RESET_LIFE: Duration = Duration::from_hours(1);

#[tonic::async_trait]
impl CredentialService for Api {
    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.change(&caller, &client, request.into_inner()).await?))
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.ask_for_reset(&request.into_inner(), &client).await?))
    }

    async fn reset_password(
        &self,
        request: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        Ok(Response::new(self.reset(request.into_inner()).await?))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.own_sessions(&caller, &request.into_inner()).await?))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.revoke(&caller, &request.into_inner()).await?))
    }
}

impl Api {
    /// What is wrong with a new password beside its length; `about` is what a guesser knows of the person.
    pub(super) async fn weaknesses(&self, password: &Password, about: &[&str]) -> Result<Vec<&'static str>, Error> {
        if !fields::has_good_length(password) {
            return Ok(Vec::new());
        }
        self.passwords.weaknesses(password, about.iter().map(|text| (*text).to_owned()).collect()).await
    }

    async fn change(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: ChangePasswordRequest,
    ) -> Result<ChangePasswordResponse, Fault> {
        let current = fields::take_password(&mut message.current_password);
        let new = fields::take_password(&mut message.new_password);
        let confirmation = fields::take_password(&mut message.new_password_confirmation);
        let (account, id) = (caller.account_id, caller.user_id);
        let user = self.find(account, id).await?;
        let weaknesses = self.weaknesses(&new, &[&user.name, &user.email]).await?;
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields::required(&mut fields, "current_password", &current);
        fields::new_password(&mut fields, "new_password", &new, &weaknesses);
        fields::confirmation(&mut fields, "new_password_confirmation", &confirmation, &new);
        fields.finish()?;
        let once = Once::new(account, &request_id, "ChangePassword", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let old = self.require_password(&user, client, current).await?;
        let hash = self.passwords.hash(new).await?;
        let now = self.clock.now();
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            users::find_for_update(tx, account, id).await?;
            if !passwords::replace(tx, account, id, &old, &hash).await? {
                return Err(Error::PasswordWrong);
            }
            passwords::withdraw_resets(tx, account, id).await?;
            factors::forget_trust(tx, Whose { account, user: id }).await?;
            for (session, epoch) in sessions::end_others(tx, account, id, caller.session_id, now).await? {
                revocations::insert(tx, account, (RevocationSubject::Session, session), epoch, now).await?;
            }
            alerts::queue(tx, account, id, Alert::PasswordChanged, now).await?;
            Ok(ChangePasswordResponse {})
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    /// The hash of the user's password, if this is it. A stolen access token must not be a way to guess.
    pub(super) async fn require_password(
        &self,
        user: &User,
        client: &Client,
        password: Password,
    ) -> Result<String, Error> {
        let subjects = self.limits.password_change(user.id, client.address);
        let mut connection = self.database.pool().acquire().await?;
        throttle::admit(&mut connection, &subjects, self.clock.now()).await?;
        let credentials = users::credentials(&mut connection, user.account_id, user.id).await?;
        drop(connection);
        let hash = credentials.and_then(|(_, hash)| hash);
        let checked = self.passwords.verify(password, hash.clone()).await?;
        let (true, Some(hash)) = (checked.right, hash) else {
            throttle::fail(&self.database, &subjects, self.clock.now()).await?;
            return Err(Error::PasswordWrong);
        };
        let now = self.clock.now();
        self.database
            .transaction("right password", async |tx: &mut PgConnection| throttle::succeed(tx, &subjects, now).await)
            .await?;
        Ok(hash)
    }

    /// Looks at nothing that depends on whose the address is: a worker does, when the answer is out.
    async fn ask_for_reset(
        &self,
        message: &RequestPasswordResetRequest,
        client: &Client,
    ) -> Result<RequestPasswordResetResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let email = email_key(&fields.email("email", &message.email));
        fields.finish()?;
        let once = Once::new(Uuid::nil(), &strangers_id(&email, &request_id), "RequestPasswordReset", message);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let now = self.clock.now();
        throttle::fail(&self.database, &self.limits.reset_request(&email, client.address), now).await?;
        let send = Effect::SendPasswordReset { email, good_until: after(now, RESET_LIFE) };
        let send = Job::new(Uuid::nil(), send);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            self.effects.leave(tx, &send).await?;
            Ok::<_, Error>(RequestPasswordResetResponse {})
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn reset(&self, mut message: ResetPasswordRequest) -> Result<ResetPasswordResponse, Fault> {
        let password = fields::take_password(&mut message.new_password);
        let token = Token::read(&message.token);
        let user = match &token {
            Some(token) => self.resettable(token).await?,
            None => None,
        };
        // Without a token nothing is computed for whoever asks.
        let weaknesses = match &user {
            Some(user) => self.weaknesses(&password, &[&user.name, &user.email]).await?,
            None => Vec::new(),
        };
        let mut fields = Fields::new();
        fields::required(&mut fields, "token", &message.token);
        fields::new_password(&mut fields, "new_password", &password, &weaknesses);
        fields.finish()?;
        let (Some(token), Some(_)) = (token, user) else { return Err(Error::ResetNotFound.into()) };
        let hash = self.passwords.hash(password).await?;
        let now = self.clock.now();
        self.database
            .transaction("reset password", async |tx: &mut PgConnection| replace_by(tx, &token, &hash, now).await)
            .await?;
        self.effects.wake();
        Ok(ResetPasswordResponse {})
    }

    /// Whose password the token resets now.
    async fn resettable(&self, token: &Token) -> Result<Option<User>, Error> {
        let mut connection = self.database.pool().acquire().await?;
        if !passwords::is_reset_open(&mut connection, token, self.clock.now()).await? {
            return Ok(None);
        }
        let user = users::find(&mut connection, token.account, token.subject).await?;
        Ok(user.filter(|user| user.state == UserState::Active))
    }

    async fn own_sessions(
        &self,
        caller: &Caller,
        message: &ListSessionsRequest,
    ) -> Result<ListSessionsResponse, Fault> {
        let mut fields = Fields::new();
        let page =
            Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListSessions", caller.user_id), message.page.as_ref());
        fields.finish()?;
        let (account, user, now) = (caller.account_id, caller.user_id, self.clock.now());
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let found = sessions::list(&mut connection, account, user, now, page.after(), page.limit()).await?;
        let (found, info) = page.finish(found, |session| (session.created_at, session.id));
        let shown = found.into_iter().map(|session| shown(session, caller.session_id));
        Ok(ListSessionsResponse { sessions: shown.collect(), page: Some(info) })
    }

    async fn revoke(&self, caller: &Caller, message: &RevokeSessionRequest) -> Result<RevokeSessionResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let session = fields.uuid("session_id", &message.session_id);
        fields.finish()?;
        let (account, user, now) = (caller.account_id, caller.user_id, self.clock.now());
        let once = Once::new(account, &request_id, "RevokeSession", message).by(caller.user_id);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            if !sessions::is_of(tx, account, user, session).await? {
                return Err(Error::SessionNotFound);
            }
            end_session(tx, account, session, now).await?;
            Ok(RevokeSessionResponse {})
        });
        Ok(answer.await?)
    }
}

/// The user's row is locked first: of those who use his tokens at once one finds them, and a deactivation comes before or after.
async fn replace_by(tx: &mut PgConnection, token: &Token, hash: &str, now: Timestamp) -> Result<(), Error> {
    let (account, id) = (token.account, token.subject);
    let user = users::find_for_update(tx, account, id).await?;
    let user = user.filter(|user| user.state == UserState::Active).ok_or(Error::ResetNotFound)?;
    if !passwords::is_reset_open(tx, token, now).await? {
        return Err(Error::ResetNotFound);
    }
    passwords::withdraw_resets(tx, account, id).await?;
    let whose = Whose { account, user: id };
    factors::forget_trust(tx, whose).await?;
    let epoch = passwords::reset(tx, account, id, hash).await?;
    // One by one: whoever follows the feed knows by which session somebody is there.
    factors::end_sessions(tx, whose, now).await?;
    revocations::insert(tx, account, (RevocationSubject::User, id), epoch, now).await?;
    alerts::queue(tx, account, id, Alert::PasswordChanged, now).await?;
    events::happened(tx, "PASSWORD_RESET", account, id, now).await?;
    throttle::reset(tx, &email_key(&user.email), id, now).await
}

fn shown(session: sessions::Session, current: Uuid) -> Session {
    Session {
        id: session.id.to_string(),
        current: session.id == current,
        created_at: Some(to_proto(session.created_at)),
        last_used_at: Some(to_proto(session.last_used_at)),
        expires_at: Some(to_proto(session.expires_at)),
        user_agent: session.user_agent,
        address: session.address.unwrap_or_default(),
    }
}
