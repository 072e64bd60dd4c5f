//! The identity service: accounts, their users, invitations, sign-in, and the revocation of access.
//!
//! - `api`: one file a group of RPCs. `domain`: rules. `store`: SQL. `worker`: loops.
//! - `effects`: what a change causes in billing and team, through a queue in the database.
//! - Access tokens live five minutes; each carries the epochs of account, user and session. What ends access raises an epoch
//!   in the same transaction and adds a revocation, which `worker::revocations` tells every verifier within milliseconds.

mod alerts;
mod api;
pub mod audit_log;
mod client;
mod codes;
mod config;
mod data;
mod domain;
mod effects;
mod error;
mod events;
mod factors;
mod mail;
mod messages;
mod passwords;
mod peers;
mod pictures;
mod recovery;
mod signing;
mod store;
mod strength;
mod throttle;
mod totp;
mod whatsapp;
mod worker;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use diwan_access::{Keys, Pages};
use diwan_account_data::{AccountDataServer, deletion::Deletions};
use diwan_blobs::Blobs;
use diwan_feed::FeedServer;
use diwan_launch::{Component, Context};
use diwan_proto::identity::v1::{
    account_service_server::AccountServiceServer, alert_service_server::AlertServiceServer,
    audit_inspection_service_server::AuditInspectionServiceServer, audit_service_server::AuditServiceServer,
    challenge_service_server::ChallengeServiceServer, closing_service_server::ClosingServiceServer,
    credential_service_server::CredentialServiceServer, device_service_server::DeviceServiceServer,
    export_service_server::ExportServiceServer, factor_recovery_service_server::FactorRecoveryServiceServer,
    invitation_service_server::InvitationServiceServer, operator_service_server::OperatorServiceServer,
    ownership_service_server::OwnershipServiceServer, principal_token_service_server::PrincipalTokenServiceServer,
    profile_service_server::ProfileServiceServer, revocation_service_server::RevocationServiceServer,
    role_service_server::RoleServiceServer, second_factor_service_server::SecondFactorServiceServer,
    service_principal_service_server::ServicePrincipalServiceServer, session_service_server::SessionServiceServer,
    signing_key_service_server::SigningKeyServiceServer, user_service_server::UserServiceServer,
    whats_app_number_service_server::WhatsAppNumberServiceServer,
};
use diwan_store::{Database, Wake, answers, pool};
use diwan_transport::{BoxError, Front, Methods};
use diwan_vault::{Vault, VaultError};
use sqlx::migrate::Migrator;

use crate::{
    api::{Api, AuditApi, OperatorApi, PrincipalApi, RevocationApi, SigningKeyApi},
    config::Config,
    effects::Effects,
    mail::Courier,
    passwords::Passwords,
    peers::Peers,
    pictures::Pictures,
    signing::AccessSigner,
};

/// The service's name, and what its signatures say.
const SERVICE: &str = "identity";

/// The migrations of identity's database.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

pub use data::DATA;

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
        let blobs = Blobs::folder(&config.blobs)?;
        let effects = Effects {
            database: database.clone(),
            clock: clock.clone(),
            peers: Peers::new(&context),
            courier: Arc::new(Courier::new(&config, clock.clone())?),
            blobs: blobs.clone(),
            sender: whatsapp::sender(&config.whatsapp)?,
        };
        worker::jobs::start(&context.drain, effects.clone());
        worker::expiry::start(&context.drain, effects.clone());
        worker::closing::start(&context.drain, effects.clone(), config.retention);
        worker::exporter::start(&context, effects.clone(), blobs.clone(), config.export_kept);
        let account_data = AccountDataServer::new(pool.clone(), Some(blobs.clone()), &DATA);
        let deletions = Deletions { pool: pool.clone(), blobs: Some(blobs.clone()), data: &DATA, clock: clock.clone() };
        deletions.start(&context.drain);
        answers::purge_regularly(&context.drain, &pool, &clock);
        worker::janitor::start(&context.drain, database.clone(), clock.clone());
        let vault = Arc::new(vault(&config, &context)?);
        let access = AccessSigner::new(vault.clone(), clock.clone());
        let period = Duration::from_hours(24) * u32::from(config.signing_key_days.get());
        worker::signing_keys::start(&context.drain, database.clone(), &access, clock.clone(), period).await?;
        let revocations = worker::revocations::start(&context.drain, database.clone(), &access, clock.clone());
        let api = Api {
            database: database.clone(),
            clock: clock.clone(),
            passwords: Passwords::new(config.password_runs, config.password_line)?,
            limits: config.limits,
            access: access.clone(),
            effects,
            pages: Pages::load()?,
            closing_grace: config.closing_grace,
            recovery_delay: config.recovery_delay,
            pictures: Pictures::default(),
            blobs,
            vault,
        };
        let principals = PrincipalApi { api: api.clone(), admission: context.admission.clone() };
        let audit =
            AuditApi { database: database.clone(), signer: context.signer.clone(), keys: Keys::load(&context.keys)? };
        worker::audit::start(&context, &database, config.audit_heads.as_deref())?;
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
            .with(ClosingServiceServer::new(api.clone()))
            .await
            .with(ExportServiceServer::new(api.clone()))
            .await
            .with(account_data.into_service())
            .await
            .with(ProfileServiceServer::new(api.clone()))
            .await
            .with(ServicePrincipalServiceServer::new(principals.clone()))
            .await
            .with(PrincipalTokenServiceServer::new(principals))
            .await
            .with(WhatsAppNumberServiceServer::new(api.clone()))
            .await
            .with(AlertServiceServer::new(api.clone()))
            .await
            .with(SecondFactorServiceServer::new(api.clone()))
            .await
            .with(DeviceServiceServer::new(api.clone()))
            .await
            .with(FactorRecoveryServiceServer::new(api.clone()))
            .await
            .with(ChallengeServiceServer::new(api.clone()))
            .await
            .with(SessionServiceServer::new(api))
            .await
            .with(OperatorServiceServer::new(OperatorApi { database: database.clone(), clock: clock.clone() }))
            .await
            .with(SigningKeyServiceServer::new(SigningKeyApi {
                database: database.clone(),
                clock: clock.clone(),
                signer: access,
                period,
                told: revocations.clone(),
            }))
            .await
            .with(AuditServiceServer::new(audit.clone()))
            .await
            .with(AuditInspectionServiceServer::new(audit))
            .await
            .with(RevocationServiceServer::new(RevocationApi { revocations, drain: context.drain.clone() }))
            .await
            .with(FeedServer::new(database.clone(), clock, context.drain.clone()).into_service())
            .await
            .audited(database);
        Ok(methods.into_front(context.admission, &context.drain)?.publishing_keys())
    }
}

/// What encrypts secrets in the database.
fn vault(config: &Config, context: &Context) -> Result<Vault, VaultError> {
    match &config.secret_keys {
        Some(path) => Vault::load(path, false),
        None => Vault::load(&context.keys.join("identity-secrets.json"), true),
    }
}
