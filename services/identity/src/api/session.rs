//! Sign-in and its sessions.

use std::time::Duration;

use diwan_access::{
    User as Caller,
    token::{AUDIENCE, AccessClaims, Epochs},
    user,
};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    RefreshSessionRequest, RefreshSessionResponse, RevocationSubject, SignInRequest, SignInResponse, SignOutRequest,
    SignOutResponse, Tokens, UserState, session_service_server::SessionService,
};
use diwan_runtime::ids;
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, encode, fields};
use crate::{
    domain::{Presented, Token, User, email_key, presented},
    error::Error,
    passwords::Password,
    store::{accounts, revocations, sessions, users},
};

/// The life of an access token.
const ACCESS_LIFE: Duration = Duration::from_mins(5);

/// What the tokens of a session are made of.
struct Pair {
    user: User,
    refresh: Token,
    epochs: Epochs,
}

#[tonic::async_trait]
impl SessionService for Api {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        Ok(Response::new(self.begin(request.into_inner()).await?))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        Ok(Response::new(self.refresh(&request.into_inner()).await?))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let caller = user(&request)?;
        self.end(&caller).await.map_err(Fault::from)?;
        Ok(Response::new(SignOutResponse {}))
    }
}

impl Api {
    async fn begin(&self, mut message: SignInRequest) -> Result<SignInResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let email = fields.email("email", &message.email);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let (account, id) = self.recognize(&email_key(&email), password).await?;
        let now = self.clock.now();
        let pair = self
            .database
            .transaction("begin session", async |tx: &mut PgConnection| {
                // Held until the session is there: a deactivation finds either no session or this one.
                let user = users::find_for_share(tx, account, id).await?;
                let user = user.filter(|user| user.state == UserState::Active).ok_or(Error::SignInRefused)?;
                let refresh = Token::new(account, ids::new_id());
                sessions::insert(tx, &refresh, user.id, now).await?;
                let epochs = sessions::epochs(tx, account, refresh.subject).await?;
                Ok::<_, Error>(Pair { user, refresh, epochs })
            })
            .await?;
        Ok(SignInResponse { tokens: Some(self.tokens(&pair)?), user: Some(encode::user(&pair.user)) })
    }

    /// Whose address and password these are, if he may sign in. An unknown address, a wrong password and a user who may not
    /// take the same way: the same two reads, one argon2 run, one refusal.
    async fn recognize(&self, email: &str, password: Password) -> Result<(Uuid, Uuid), Error> {
        let mut connection = self.database.pool().acquire().await?;
        let (account, id) = accounts::find_email(&mut connection, email).await?.unwrap_or_default();
        let credentials = users::credentials(&mut connection, account, id).await?;
        drop(connection);
        let (state, hash) = credentials.unwrap_or((UserState::Unspecified, None));
        let right = self.passwords.verify(password, hash).await?;
        if right && state == UserState::Active { Ok((account, id)) } else { Err(Error::SignInRefused) }
    }

    async fn refresh(&self, message: &RefreshSessionRequest) -> Result<RefreshSessionResponse, Fault> {
        let mut fields = Fields::new();
        fields::required(&mut fields, "refresh_token", &message.refresh_token);
        fields.finish()?;
        let token = Token::read(&message.refresh_token).ok_or(Error::RefreshRefused)?;
        let now = self.clock.now();
        let pair = self
            .database
            .transaction("refresh session", async |tx: &mut PgConnection| rotate(tx, &token, now).await)
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

    fn tokens(&self, pair: &Pair) -> Result<Tokens, Error> {
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
            access_token: self.access.sign(&claims).map_err(|error| Error::Sign(error.into()))?,
            access_expires_at: Some(to_proto(expires_at)),
            refresh_token: pair.refresh.write(),
        })
    }
}

/// The next pair for a refresh token; `None` is a refusal, which is committed all the same: a reused token ends its session.
///
/// Of two exchanges of one token at once the row lock makes one the later, and its answer is the one that stays good.
async fn rotate(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<Option<Pair>, Error> {
    let Some(user_id) = sessions::user_of(tx, token, now).await? else { return Ok(None) };
    // The user before the session, as a deactivation takes them.
    let user = users::find_for_share(tx, token.account, user_id).await?;
    let Some(user) = user.filter(|user| user.state == UserState::Active) else { return Ok(None) };
    let Some(remembered) = sessions::find_for_update(tx, token, now).await? else { return Ok(None) };
    match presented(token, &remembered) {
        Presented::Newest | Presented::Parent => {
            let refresh = token.successor();
            sessions::rotate(tx, token, &refresh, now).await?;
            let epochs = sessions::epochs(tx, token.account, token.subject).await?;
            Ok(Some(Pair { user, refresh, epochs }))
        }
        Presented::Reused => {
            tracing::warn!(account = %token.account, session = %token.subject, "a used refresh token ends its session");
            end_session(tx, token.account, token.subject, now).await?;
            Ok(None)
        }
        Presented::Foreign => Ok(None),
    }
}

async fn end_session(tx: &mut PgConnection, account: Uuid, session: Uuid, now: Timestamp) -> Result<(), Error> {
    if let Some(epoch) = sessions::end(tx, account, session, now).await? {
        revocations::insert(tx, account, (RevocationSubject::Session, session), epoch, now).await?;
    }
    Ok(())
}
