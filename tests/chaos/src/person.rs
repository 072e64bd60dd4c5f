//! Somebody who signs in again whenever his access has run out or was cut.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use diwan_e2e::{
    Failure,
    door::{Door, Person as SignedIn},
};
use diwan_proto::identity::v1::{RefreshSessionRequest, session_service_client::SessionServiceClient};
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
    session: Mutex<(Instant, SignedIn)>,
    /// Whether he keeps his inbox open.
    wanted: AtomicBool,
    pub(crate) turned: Notify,
}

impl Person {
    /// Signs in for the first time.
    pub(crate) async fn sign_in(door: &Door, email: &str) -> Result<Self, Failure> {
        let person = door.sign_in(email, PASSWORD).await?;
        Ok(Self {
            id: person.user.id.parse()?,
            email: email.to_owned(),
            door: door.clone(),
            session: Mutex::new((Instant::now(), person)),
            wanted: AtomicBool::new(true),
            turned: Notify::new(),
        })
    }

    /// His account.
    pub(crate) async fn account(&self) -> String {
        self.session.lock().await.1.user.account_id.clone()
    }

    /// An access token that is not old.
    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let mut session = self.session.lock().await;
        if session.0.elapsed() > FRESH {
            let refresh_token = session.1.tokens.refresh_token.clone();
            let mut client = SessionServiceClient::new(self.door.way());
            match client.refresh_session(RefreshSessionRequest { refresh_token }).await {
                Ok(answer) => session.1.tokens = answer.into_inner().tokens.ok_or("no tokens in the answer")?,
                Err(_) => session.1 = self.door.sign_in(&self.email, PASSWORD).await?,
            }
            session.0 = Instant::now();
        }
        Ok(session.1.tokens.access_token.clone())
    }

    /// `refused` was: signs in again, unless that has happened meanwhile. It fails while he is deactivated.
    pub(crate) async fn again(&self, refused: &str) -> Result<(), Failure> {
        let mut session = self.session.lock().await;
        if session.1.tokens.access_token == refused {
            let person = self.door.sign_in(&self.email, PASSWORD).await?;
            *session = (Instant::now(), person);
        }
        Ok(())
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
