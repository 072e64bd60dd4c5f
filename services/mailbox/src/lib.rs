//! The mailbox service: connects shared mailboxes, brings their mail into conversations, and sends what agents answer.
//!
//! - [`api`]: the RPCs. ConnectMailbox signs in on both sides ([`probe`]) before it stores anything; passwords are stored
//!   encrypted ([`vault`]).
//! - [`worker`]: the replicas share the mailboxes through leases; each mailbox has four loops (sync, ingest, send, report)
//!   in the replica that owns it.
//! - It follows identity's feed: the mailboxes of an account that is closed for good are worked on by nobody; and team's: those of an
//!   archived team feed the one that has taken its place.
//! - Mail that lay in INBOX before the mailbox was connected does not become a conversation: syncing starts at the UIDNEXT
//!   that the test of the settings saw.
//!
//! Settings: `DIWAN_MAILBOX_DATABASE_URL`, and those of [`config`].

mod api;
mod config;
mod data;
mod domain;
mod error;
mod imap;
mod probe;
mod reach;
mod shared;
mod smtp;
mod store;
mod vault;
mod worker;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use diwan_account_data::{AccountDataServer, deletion::Deletions};
use diwan_blobs::Blobs;
use diwan_feed::FeedServer;
use diwan_launch::{Component, Context};
use diwan_proto::{
    conversation::v1::ingest_service_client::IngestServiceClient,
    identity::v1::alert_service_client::AlertServiceClient,
    mailbox::v1::{mailbox_service_server::MailboxServiceServer, send_service_server::SendServiceServer},
    team::v1::team_service_client::TeamServiceClient,
};
use diwan_store::{Database, Wake, answers, pool};
use diwan_transport::{BoxError, Front, Methods};
use diwan_vault::Vault;
use sqlx::migrate::Migrator;

use crate::{api::Api, config::Config, shared::Shared};

/// The migrations of the service's database.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

pub use data::DATA;

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Service;

#[async_trait]
impl Component for Service {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    fn migrator(&self) -> Option<&'static Migrator> {
        Some(&MIGRATIONS)
    }

    async fn start(&self, context: Context) -> Result<Front, BoxError> {
        let url = context.env.require("DIWAN_MAILBOX_DATABASE_URL")?;
        let pool = pool::open(url, pool::Options::new("diwan-mailbox")).await?;
        let database = Database::new(pool.clone(), Wake::start(&context.drain, &pool));
        let feed = FeedServer::new(database.clone(), context.clock.clone(), context.drain.clone());
        let shared = Arc::new(share(&context, database.clone())?);
        answers::purge_regularly(&context.drain, &pool, &context.clock);
        worker::fleet::start(&shared);
        worker::closing::start(&context, &shared);
        worker::teams::start(&context, &shared);
        let blobs = Some(shared.blobs.clone());
        let account_data = AccountDataServer::new(pool.clone(), blobs.clone(), &DATA);
        Deletions { pool, blobs, data: &DATA, clock: context.clock.clone() }.start(&context.drain);
        let api = Api(shared);
        let methods = Methods::new("mailbox")
            .with(MailboxServiceServer::new(api.clone()))
            .await
            .with(SendServiceServer::new(api))
            .await
            .with(feed.into_service())
            .await
            .with(account_data.into_service())
            .await
            .audited(database);
        Ok(methods.into_front(context.admission, &context.drain)?)
    }
}

fn share(context: &Context, database: Database) -> Result<Shared, BoxError> {
    let config = Config::read(&context.env)?;
    let vault = match &config.secret_keys {
        Some(path) => Vault::load(path, false)?,
        None => Vault::load(&context.keys.join("mailbox-secrets.json"), true)?,
    };
    let to = |service, limit| context.network.to(service).signed(&context.signer).within(limit);
    Ok(Shared {
        blobs: Blobs::folder(&config.blobs)?,
        config,
        clock: context.clock.clone(),
        drain: context.drain.clone(),
        database,
        vault,
        conversation: IngestServiceClient::new(to("conversation", Duration::from_secs(10))),
        identity: AlertServiceClient::new(to("identity", Duration::from_secs(5))),
        team: TeamServiceClient::new(to("team", Duration::from_secs(5))),
    })
}
