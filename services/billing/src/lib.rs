//! Billing: what an account has subscribed to, and who holds its seats.
//!
//! A seat belongs to a user: taken for a time when he is invited, for good when he accepts, free again when he is
//! deactivated. Never are more seats held than the subscription has.

mod api;
mod config;
mod data;
mod domain;
mod error;
mod follow;
mod store;

use async_trait::async_trait;
use diwan_account_data::{AccountDataServer, deletion::Deletions};
use diwan_feed::FeedServer;
use diwan_launch::{Component, Context};
use diwan_proto::billing::v1::{
    seat_service_server::SeatServiceServer, subscription_service_server::SubscriptionServiceServer,
};
use diwan_store::{Database, Wake, answers, pool};
use diwan_transport::{BoxError, Front, Methods};
use sqlx::migrate::Migrator;

use crate::{api::Api, config::Config};

/// The migrations of billing's database.
pub static MIGRATOR: Migrator = sqlx::migrate!();

pub use data::DATA;

/// The billing service.
pub struct Service;

#[async_trait]
impl Component for Service {
    fn name(&self) -> &'static str {
        "billing"
    }

    fn migrator(&self) -> Option<&'static Migrator> {
        Some(&MIGRATOR)
    }

    async fn start(&self, context: Context) -> Result<Front, BoxError> {
        let config = Config::read(&context.env)?;
        let pool = pool::open(&config.database_url, pool::Options::new("diwan-billing")).await?;
        answers::purge_regularly(&context.drain, &pool, &context.clock);
        let database = Database::new(pool.clone(), Wake::start(&context.drain, &pool));
        let feed = FeedServer::new(database.clone(), context.clock.clone(), context.drain.clone());
        follow::start(&context, &database);
        Deletions { pool: pool.clone(), blobs: None, data: &DATA, clock: context.clock.clone() }.start(&context.drain);
        let api = Api { database: database.clone(), clock: context.clock, trial: config.trial };
        let methods = Methods::new(self.name())
            .with(SubscriptionServiceServer::new(api.clone()))
            .await
            .with(SeatServiceServer::new(api))
            .await
            .with(feed.into_service())
            .await
            .with(AccountDataServer::new(pool, None, &DATA).into_service())
            .await
            .audited(database);
        Ok(methods.into_front(context.admission, &context.drain)?)
    }
}
