//! Teams: their settings, and who belongs to them.
//!
//! Every active user belongs to at least one active team, and every account has one fallback team. Other services follow
//! the feed of changes; of identity's it takes the accounts' time zones, by which working hours count.

mod api;
mod change;
mod config;
mod data;
mod domain;
mod encode;
mod error;
mod follow;
mod store;

use async_trait::async_trait;
use diwan_account_data::{AccountDataServer, deletion::Deletions};
use diwan_feed::FeedServer;
use diwan_launch::{Component, Context};
use diwan_proto::team::v1::{
    archive_service_server::ArchiveServiceServer, department_service_server::DepartmentServiceServer,
    hours_service_server::HoursServiceServer, membership_service_server::MembershipServiceServer,
    team_service_server::TeamServiceServer,
};
use diwan_store::{Database, Wake, answers, pool};
use diwan_transport::{BoxError, Front, Methods};
use sqlx::migrate::Migrator;

use crate::{api::Api, config::Config};

/// The migrations of team's database.
pub static MIGRATOR: Migrator = sqlx::migrate!();

pub use data::DATA;

/// The team service.
pub struct Service;

#[async_trait]
impl Component for Service {
    fn name(&self) -> &'static str {
        "team"
    }

    fn migrator(&self) -> Option<&'static Migrator> {
        Some(&MIGRATOR)
    }

    async fn start(&self, context: Context) -> Result<Front, BoxError> {
        let config = Config::read(&context.env)?;
        let pool = pool::open(&config.database_url, pool::Options::new("diwan-team")).await?;
        answers::purge_regularly(&context.drain, &pool, &context.clock);
        let database = Database::new(pool.clone(), Wake::start(&context.drain, &pool));
        let feed = FeedServer::new(database.clone(), context.clock.clone(), context.drain.clone());
        follow::start(&context, &database);
        Deletions { pool: pool.clone(), blobs: None, data: &DATA, clock: context.clock.clone() }.start(&context.drain);
        let api = Api { database: database.clone(), clock: context.clock };
        let methods = Methods::new(self.name())
            .with(TeamServiceServer::new(api.clone()))
            .await
            .with(HoursServiceServer::new(api.clone()))
            .await
            .with(ArchiveServiceServer::new(api.clone()))
            .await
            .with(DepartmentServiceServer::new(api.clone()))
            .await
            .with(MembershipServiceServer::new(api))
            .await
            .with(feed.into_service())
            .await
            .with(AccountDataServer::new(pool, None, &DATA).into_service())
            .await
            .audited(database);
        Ok(methods.into_front(context.admission, &context.drain)?)
    }
}
