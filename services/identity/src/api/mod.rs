//! The RPCs: decode, let domain and store decide, encode.

mod account;
mod alert;
mod audit;
mod challenge;
mod closing;
mod confirmation;
mod credential;
pub mod device;
mod download;
pub mod encode;
mod enrolment;
mod export;
pub mod factor_recovery;
mod fields;
mod invitation;
mod invitations;
mod operator;
mod ownership;
mod phone;
mod policy;
mod principals;
mod profile;
mod proof;
mod revocation;
mod role;
mod second_factor;
mod session;
mod settings;
mod signing_key;
mod standing;
mod user;

use std::{future::Future, sync::Arc, time::Duration};

pub use audit::AuditApi;
pub use closing::shut;
use diwan_access::Pages;
use diwan_blobs::Blobs;
use diwan_runtime::{Clock, worker::chain};
use diwan_store::Database;
use diwan_vault::Vault;
#[cfg(test)]
pub use fields::{PHONE_NUMBER, TIME_ZONE};
use jiff::Timestamp;
pub use operator::OperatorApi;
pub use principals::PrincipalApi;
#[cfg(test)]
pub use principals::REASONS as PRINCIPAL_FIELDS;
pub use revocation::RevocationApi;
pub use signing_key::SigningKeyApi;
use sqlx::PgConnection;
pub use standing::cut_access;
use uuid::Uuid;

use crate::{
    effects::Effects,
    error::Error,
    passwords::Passwords,
    pictures::Pictures,
    signing::AccessSigner,
    store::jobs::{Effect, Job},
    throttle::{self, Limits, Subject},
};

/// What the handlers of accounts, users and sessions share.
#[derive(Clone)]
pub struct Api {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// How many failures are too many.
    pub limits: Limits,
    /// Signs access tokens.
    pub access: AccessSigner,
    /// What changes cause elsewhere.
    pub effects: Effects,
    /// Who is shown which page.
    pub pages: Pages,
    /// How long an account that is being closed can still be kept.
    pub closing_grace: Duration,
    /// How long after its beginning a recovery takes second factors.
    pub recovery_delay: Duration,
    /// Scales pictures.
    pub pictures: Pictures,
    /// Keeps them.
    pub blobs: Blobs,
    /// Encrypts the secrets of authenticators.
    pub vault: Arc<Vault>,
}

impl Api {
    /// Lets a try through or refuses it; see [`throttle::admit`].
    async fn admit(&self, subjects: &[Subject]) -> Result<(), Error> {
        throttle::admit(&mut *self.database.pool().acquire().await?, subjects, self.clock.now()).await
    }

    /// Counts an answer that tells that an address is taken.
    async fn counting_taken<A>(&self, subjects: &[Subject], answer: Result<A, Error>) -> Result<A, Error> {
        if matches!(answer, Err(Error::EmailTaken)) {
            throttle::fail(&self.database, subjects, self.clock.now()).await?;
        }
        answer
    }

    /// Takes a seat for a user and makes the change that he needs it for. The job is queued *before* the seat is taken:
    /// whatever happens from then on (a refusal, a crash, a caller who has gone), the seat ends as the user's state asks for.
    async fn seated<A>(
        &self,
        account: Uuid,
        user_id: Uuid,
        lease: Option<Timestamp>,
        change: impl Future<Output = Result<A, Error>> + Send,
    ) -> Result<A, Error> {
        let settle = Job::new(account, Effect::SettleSeat { user_id });
        self.database
            .transaction("queue seat", async |tx: &mut PgConnection| self.effects.queue(tx, &settle).await)
            .await?;
        let changed = match self.effects.peers.take_seat(account, user_id, lease).await {
            Ok(()) => change.await,
            Err(error) => Err(error),
        };
        match &changed {
            Ok(_) => {
                if let Err(error) = self.effects.finish(&settle).await {
                    // It runs once more later, and finds the seat as it should be.
                    tracing::warn!(error = chain(&error), "a settled seat stays in the queue");
                }
            }
            Err(_) => self.effects.run(&settle).await,
        }
        changed
    }
}
