//! The identity service: accounts, their users, invitations, sign-in, and the revocation of access.
//!
//! - `api`: one file a group of RPCs. `domain`: rules. `store`: SQL. `worker`: loops.
//! - `effects`: what a change causes in billing and team, through a queue in the database.
//! - Access tokens live five minutes; each carries the epochs of account, user and session. What ends access raises an epoch
//!   in the same transaction and adds a revocation, which `worker::revocations` tells every verifier within milliseconds.

mod api;
mod client;
mod config;
mod domain;
mod effects;
mod error;
mod events;
mod mail;
mod passwords;
mod peers;
mod store;
mod strength;
mod throttle;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use diwan_access::{Pages, Signer, keys};
use diwan_feed::FeedServer;
use diwan_launch::{Component, Context};
use diwan_proto::identity::v1::{
    account_service_server::AccountServiceServer, credential_service_server::CredentialServiceServer,
    invitation_service_server::InvitationServiceServer, ownership_service_server::OwnershipServiceServer,
    revocation_service_server::RevocationServiceServer, role_service_server::RoleServiceServer,
    session_service_server::SessionServiceServer, user_service_server::UserServiceServer,
};
use diwan_store::{Database, Wake, answers, pool};
use diwan_transport::{BoxError, Front, Methods};
use sqlx::migrate::Migrator;

use crate::{
    api::{Api, RevocationApi},
    config::Config,
    effects::Effects,
    mail::Courier,
    passwords::Passwords,
    peers::Peers,
};

/// The migrations of identity's database.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Identity, as a process starts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service;

#[async_trait]
impl Component for Service {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn migrator(&self) -> Option<&'static Migrator> {
        Some(&MIGRATIONS)
    }

    async fn start(&self, context: Context) -> Result<Front, BoxError> {
        let config = Config::read(&context.env)?;
        let pool = pool::open(&config.database_url, pool::Options::new("diwan-identity")).await?;
        let database = Database::new(pool.clone(), Wake::start(&context.drain, &pool));
        let clock = context.clock.clone();
        let effects = Effects {
            database: database.clone(),
            clock: clock.clone(),
            peers: Peers::new(&context),
            courier: Arc::new(Courier::new(&config, clock.clone())?),
        };
        worker::jobs::start(&context.drain, effects.clone());
        worker::expiry::start(&context.drain, effects.clone());
        answers::purge_regularly(&context.drain, &pool, &clock);
        worker::janitor::start(&context.drain, database.clone(), clock.clone());
        let revocations = worker::revocations::start(&context.drain, database.clone(), clock.clone());
        let api = Api {
            database: database.clone(),
            clock: clock.clone(),
            passwords: Passwords::new(config.password_runs, config.password_line)?,
            limits: config.limits,
            access: Signer::load(&context.keys, keys::ACCESS, clock.clone())?,
            effects,
            pages: Pages::load()?,
        };
        let methods = Methods::new(self.name())
            .with(AccountServiceServer::new(api.clone()))
            .await
            .with(UserServiceServer::new(api.clone()))
            .await
            .with(RoleServiceServer::new(api.clone()))
            .await
            .with(OwnershipServiceServer::new(api.clone()))
            .await
            .with(InvitationServiceServer::new(api.clone()))
            .await
            .with(CredentialServiceServer::new(api.clone()))
            .await
            .with(SessionServiceServer::new(api))
            .await
            .with(RevocationServiceServer::new(RevocationApi { revocations, drain: context.drain.clone() }))
            .await
            .with(FeedServer::new(database, clock, context.drain.clone()).into_service())
            .await;
        Ok(methods.into_front(context.admission, &context.drain)?)
    }
}
