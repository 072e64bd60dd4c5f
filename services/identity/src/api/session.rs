//! Sign-in and its sessions.

use diwan_access::{
    User as Caller,
    token::{ACCESS_LIFE, AUDIENCE, AccessClaims, Epochs},
    user,
};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    RefreshSessionRequest, RefreshSessionResponse, RevocationSubject, SignInChallenge, SignInRequest, SignInResponse,
    SignOutRequest, SignOutResponse, Tokens, UserState, session_service_server::SessionService,
};
use diwan_runtime::{ids, worker::chain};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, closing::require_let_in, encode, fields};
use crate::{
    alerts::{self, Alert},
    client::Client,
    domain::{Presented, Token, User, email_key, presented},
    error::Error,
    events,
    passwords::Password,
    store::{accounts, passwords, revocations, sessions, users},
    throttle::{self, Subject},
};

/// Who has given his password.
struct Recognized {
    account: Uuid,
    user: Uuid,
    /// What it was checked against.
    hash: String,
    /// The password, where the hash is to be made anew.
    outdated: Option<Password>,
}

/// What the tokens of a session are made of.
pub(super) struct Pair {
    /// Whose session it is.
    pub(super) user: User,
    refresh: Token,
    epochs: Epochs,
}

/// What a right password led to.
enum Begun {
    Session(Box<Pair>),
    Challenge(SignInChallenge),
}

#[tonic::async_trait]
impl SessionService for Api {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.begin(request.into_inner(), &client).await?))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.refresh(&request.into_inner(), &client).await?))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let caller = user(&request)?;
        self.end(&caller).await.map_err(Fault::from)?;
        Ok(Response::new(SignOutResponse {}))
    }
}

impl Api {
    async fn begin(&self, mut message: SignInRequest, client: &Client) -> Result<SignInResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let device = Token::read(&fields::take_password(&mut message.device_token));
        let mut fields = Fields::new();
        let email = fields.email("email", &message.email);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let email = email_key(&email);
        let subjects = self.limits.sign_in(&email, client.address);
        let recognized = self.recognize(&email, password, &subjects).await?;
        let now = self.clock.now();
        let begun = self
            .database
            .transaction("begin session", async |tx: &mut PgConnection| {
                throttle::succeed(tx, &subjects, now).await?;
                self.begun(tx, &recognized, device.as_ref(), client, now).await
            })
            .await?;
        self.renew_hash(recognized).await;
        Ok(match begun {
            Begun::Session(pair) => SignInResponse {
                tokens: Some(self.tokens(&pair)?),
                user: Some(encode::user(&pair.user)),
                challenge: None,
            },
            Begun::Challenge(challenge) => SignInResponse { challenge: Some(challenge), ..SignInResponse::default() },
        })
    }

    async fn begun(
        &self,
        tx: &mut PgConnection,
        whose: &Recognized,
        device: Option<&Token>,
        client: &Client,
        now: Timestamp,
    ) -> Result<Begun, Error> {
        // Held until the session is there: a deactivation or a new password finds either no session or this one.
        let user = users::find_for_share(tx, whose.account, whose.user).await?;
        let credentials = users::credentials(tx, whose.account, whose.user).await?;
        let unchanged = credentials == Some((UserState::Active, Some(whose.hash.clone())));
        let user = user.filter(|_| unchanged).ok_or(Error::SignInRefused)?;
        require_let_in(tx, whose.account, user.role).await?;
        if let Some(challenge) = self.second_step(tx, &user, device, now).await? {
            return Ok(Begun::Challenge(challenge));
        }
        Ok(Begun::Session(Box::new(self.start_session(tx, user, client, now).await?)))
    }

    /// Starts a session of a user whose row is locked, and tells him if it is on a machine that none was on before.
    pub(super) async fn start_session(
        &self,
        tx: &mut PgConnection,
        user: User,
        client: &Client,
        now: Timestamp,
    ) -> Result<Pair, Error> {
        let is_news = sessions::is_news(tx, user.account_id, user.id, client).await?;
        let what = if is_news { "SIGNED_IN_ON_A_NEW_DEVICE" } else { "SIGNED_IN" };
        events::happened(tx, what, user.account_id, user.id, now).await?;
        if is_news {
            let alert = Alert::NewDevice { device: client.user_agent.clone(), address: client.address };
            alerts::queue(tx, user.account_id, user.id, alert, now).await?;
        }
        let refresh = Token::new(user.account_id, ids::new_id());
        sessions::insert(tx, &refresh, user.id, client, now).await?;
        let epochs = sessions::epochs(tx, user.account_id, refresh.subject).await?;
        Ok(Pair { user, refresh, epochs })
    }

    /// Whose address and password these are, if he may sign in. An unknown address, a wrong password and a user who may not
    /// take the same way: the same reads, one argon2 run, one more failure counted, one refusal.
    async fn recognize(&self, email: &str, password: Password, subjects: &[Subject]) -> Result<Recognized, Error> {
        let place = self.passwords.called().await?;
        let mut connection = self.database.pool().acquire().await?;
        throttle::admit(&mut connection, subjects, self.clock.now()).await?;
        let (account, user) = accounts::find_email(&mut connection, email).await?.unwrap_or_default();
        let credentials = users::credentials(&mut connection, account, user).await?;
        drop(connection);
        let (state, hash) = credentials.unwrap_or((UserState::Unspecified, None));
        let checked = self.passwords.verify_at(place, password.clone(), hash.clone()).await?;
        if let (true, UserState::Active, Some(hash)) = (checked.right, state, hash) {
            let outdated = checked.outdated.then_some(password);
            return Ok(Recognized { account, user, hash, outdated });
        }
        throttle::fail(&self.database, subjects, self.clock.now()).await?;
        Err(Error::SignInRefused)
    }

    /// Hashes a password again whose hash was made with the parameters of another day. It may fail: the old one is still good.
    async fn renew_hash(&self, recognized: Recognized) {
        let Recognized { account, user, hash, outdated: Some(password) } = recognized else { return };
        let renewed = async {
            let new = self.passwords.hash(password).await?;
            passwords::replace(&mut *self.database.pool().acquire().await?, account, user, &hash, &new).await
        };
        if let Err(error) = renewed.await {
            tracing::warn!(%account, %user, error = chain(&error), "a password keeps its outdated hash");
        }
    }

    async fn refresh(&self, message: &RefreshSessionRequest, client: &Client) -> Result<RefreshSessionResponse, Fault> {
        let mut fields = Fields::new();
        fields::required(&mut fields, "refresh_token", &message.refresh_token);
        fields.finish()?;
        let token = Token::read(&message.refresh_token).ok_or(Error::RefreshRefused)?;
        let now = self.clock.now();
        let pair = self
            .database
            .transaction("refresh session", async |tx: &mut PgConnection| rotate(tx, &token, client, now).await)
            .await?
            .ok_or(Error::RefreshRefused)?;
        Ok(RefreshSessionResponse { tokens: Some(self.tokens(&pair)?) })
    }

    async fn end(&self, caller: &Caller) -> Result<(), Error> {
        let now = self.clock.now();
        self.database
            .transaction("sign out", async |tx: &mut PgConnection| {
                end_session(tx, caller.account_id, caller.session_id, now).await
            })
            .await
    }

    /// What a client gets of a session.
    pub(super) fn tokens(&self, pair: &Pair) -> Result<Tokens, Error> {
        let registered = self.access.registered(AUDIENCE, ACCESS_LIFE);
        let expires_at = Timestamp::from_second(registered.exp).unwrap_or(Timestamp::MAX);
        let claims = AccessClaims {
            registered,
            sub: pair.user.id,
            acc: pair.user.account_id,
            sid: pair.refresh.subject,
            role: pair.user.role.into(),
            grants: pair.user.grants.iter().map(|grant| i32::from(*grant)).collect(),
            epochs: pair.epochs,
        };
        Ok(Tokens {
            access_token: self.access.sign(&claims)?,
            access_expires_at: Some(to_proto(expires_at)),
            refresh_token: pair.refresh.write(),
        })
    }
}

/// The next pair for a refresh token; `None` is a refusal, which is committed all the same: a reused token ends its session.
///
/// Of two exchanges of one token at once the row lock makes one the later, and its answer is the one that stays good.
async fn rotate(tx: &mut PgConnection, token: &Token, client: &Client, now: Timestamp) -> Result<Option<Pair>, Error> {
    let Some(user_id) = sessions::user_of(tx, token, now).await? else { return Ok(None) };
    // The user before the session, as a deactivation takes them.
    let user = users::find_for_share(tx, token.account, user_id).await?;
    let Some(user) = user.filter(|user| user.state == UserState::Active) else { return Ok(None) };
    let Some(remembered) = sessions::find_for_update(tx, token, now).await? else { return Ok(None) };
    match presented(token, &remembered) {
        Presented::Newest | Presented::Parent => {
            let refresh = token.successor();
            sessions::rotate(tx, token, &refresh, client, now).await?;
            let epochs = sessions::epochs(tx, token.account, token.subject).await?;
            Ok(Some(Pair { user, refresh, epochs }))
        }
        Presented::Reused => {
            tracing::warn!(account = %token.account, session = %token.subject, "a used refresh token ends its session");
            end_session(tx, token.account, token.subject, now).await?;
            events::happened(tx, "REFRESH_TOKEN_REUSED", token.account, user.id, now).await?;
            Ok(None)
        }
        Presented::Foreign => Ok(None),
    }
}

pub(super) async fn end_session(
    tx: &mut PgConnection,
    account: Uuid,
    session: Uuid,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(epoch) = sessions::end(tx, account, session, now).await? {
        revocations::insert(tx, account, (RevocationSubject::Session, session), epoch, now).await?;
    }
    Ok(())
}
