//! Who calls, with an access token that is got anew whenever it has run out or was cut: people, and the bot's service principal.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use diwan_e2e::{
    Failure,
    door::{Door, Person as SignedIn},
};
use diwan_proto::identity::v1::{
    ExchangeCredentialRequest, RefreshSessionRequest, SignOutRequest,
    principal_token_service_client::PrincipalTokenServiceClient, session_service_client::SessionServiceClient,
};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

/// An access token is good for five minutes.
const FRESH: Duration = Duration::from_mins(4);

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A user of the account.
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    door: Door,
    session: Mutex<Session>,
    /// Whether he keeps his inbox open.
    wanted: AtomicBool,
    pub(crate) turned: Notify,
}

struct Session {
    since: Instant,
    signed_in: SignedIn,
    /// While he is deactivated nobody signs in as him: refused sign-ins would close the door to everybody at this IP address.
    barred: bool,
}

impl Person {
    /// Signs in for the first time.
    pub(crate) async fn sign_in(door: &Door, email: &str) -> Result<Self, Failure> {
        let signed_in = door.sign_in(email, PASSWORD).await?;
        Ok(Self {
            id: signed_in.user.id.parse()?,
            email: email.to_owned(),
            door: door.clone(),
            session: Mutex::new(Session { since: Instant::now(), signed_in, barred: false }),
            wanted: AtomicBool::new(true),
            turned: Notify::new(),
        })
    }

    /// His account.
    pub(crate) async fn account(&self) -> String {
        self.session.lock().await.signed_in.user.account_id.clone()
    }

    /// An access token that is not old, unless no other is to be had at the moment.
    pub(crate) async fn token(&self) -> String {
        let mut session = self.session.lock().await;
        if session.since.elapsed() > FRESH && !session.barred {
            let refresh_token = session.signed_in.tokens.refresh_token.clone();
            let mut client = SessionServiceClient::new(self.door.way());
            match client.refresh_session(RefreshSessionRequest { refresh_token }).await.map(tonic::Response::into_inner)
            {
                Ok(answer) => {
                    let known = session.signed_in.clone();
                    session.renewed(answer.tokens.map(|tokens| SignedIn { tokens, ..known }));
                }
                Err(_) => session.renewed(self.door.sign_in(&self.email, PASSWORD).await.ok()),
            }
        }
        session.signed_in.tokens.access_token.clone()
    }

    /// `refused` was: signs in again, unless that has happened meanwhile. It fails while he is deactivated.
    pub(crate) async fn again(&self, refused: &str) -> Result<(), Failure> {
        let mut session = self.session.lock().await;
        if session.barred {
            return Err("deactivated".into());
        }
        if session.signed_in.tokens.access_token == refused {
            let signed_in = self.door.sign_in(&self.email, PASSWORD).await?;
            session.renewed(Some(signed_in));
        }
        Ok(())
    }

    /// Signs out, and in again.
    pub(crate) async fn sign_out(&self) -> Result<(), Failure> {
        let mut session = self.session.lock().await;
        let way = self.door.with_token(&session.signed_in.tokens.access_token)?.way();
        SessionServiceClient::new(way).sign_out(SignOutRequest {}).await?;
        let signed_in = self.door.sign_in(&self.email, PASSWORD).await?;
        session.renewed(Some(signed_in));
        Ok(())
    }

    /// Whether he is deactivated, or about to be.
    pub(crate) async fn bar(&self, barred: bool) {
        self.session.lock().await.barred = barred;
    }

    /// Whether he keeps his inbox open.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// Opens his inbox or closes it.
    pub(crate) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::SeqCst);
        self.turned.notify_one();
    }
}

impl Session {
    fn renewed(&mut self, signed_in: Option<SignedIn>) {
        if let Some(signed_in) = signed_in {
            self.signed_in = signed_in;
            self.since = Instant::now();
        }
    }
}

/// The service principal of an external bot.
pub(crate) struct Robot {
    door: Door,
    secret: String,
    token: Mutex<(Instant, String)>,
}

impl Robot {
    /// Exchanges its secret for the first time.
    pub(crate) async fn enter(door: &Door, secret: String) -> Result<Self, Failure> {
        let token = exchange(door, &secret).await?;
        Ok(Self { door: door.clone(), secret, token: Mutex::new((Instant::now(), token)) })
    }

    /// An access token that is not old, unless no other is to be had at the moment.
    pub(crate) async fn token(&self) -> String {
        let mut token = self.token.lock().await;
        if token.0.elapsed() > FRESH
            && let Ok(fresh) = exchange(&self.door, &self.secret).await
        {
            *token = (Instant::now(), fresh);
        }
        token.1.clone()
    }
}

async fn exchange(door: &Door, secret: &str) -> Result<String, Failure> {
    let request = ExchangeCredentialRequest { credential: secret.to_owned(), ..ExchangeCredentialRequest::default() };
    let answer = PrincipalTokenServiceClient::new(door.way()).exchange_credential(request).await?;
    Ok(answer.into_inner().access_token)
}
