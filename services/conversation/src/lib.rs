//! Conversations with customers: messages come in from the mailboxes, each conversation is given to one agent of its team, he
//! answers and closes it.
//!
//! - `domain` decides without a database: who gets what (`routing`), who sees what (`scope`).
//! - `flow` is what happens in one transaction, `store` its SQL with the lock order that all keep.
//! - `worker` routes, follows team and identity, sends answers, and keeps track of who is there.
//! - `api` answers calls.

mod api;
mod app;
mod config;
mod data;
mod domain;
mod error;
mod flow;
mod store;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use diwan_account_data::{AccountDataServer, deletion::Deletions};
use diwan_feed::FeedServer;
use diwan_launch::{Component, Context};
use diwan_proto::conversation::v1::{
    archive_service_server::ArchiveServiceServer, board_service_server::BoardServiceServer,
    bot_service_server::BotServiceServer, bot_turn_service_server::BotTurnServiceServer,
    checker_service_server::CheckerServiceServer, contact_group_service_server::ContactGroupServiceServer,
    conversation_service_server::ConversationServiceServer, decision_service_server::DecisionServiceServer,
    handling_service_server::HandlingServiceServer, inbox_service_server::InboxServiceServer,
    ingest_service_server::IngestServiceServer, note_service_server::NoteServiceServer,
    presence_service_server::PresenceServiceServer, routing_rule_service_server::RoutingRuleServiceServer,
    simulation_service_server::SimulationServiceServer, topic_service_server::TopicServiceServer,
};
use diwan_store::{Database, Wake, answers, pool};
use diwan_transport::{BoxError, Front, Methods};
use sqlx::migrate::Migrator;

use crate::{
    api::Api,
    app::App,
    config::Settings,
    worker::{
        alerts, archiver, bots, feeds, hub, hub::Hub, janitor, presence, reassigner, router, sender, shifts, unanswered,
    },
};

pub(crate) use crate::error::Error;

/// The migrations of conversation's database.
pub static MIGRATOR: Migrator = sqlx::migrate!();

pub use data::DATA;

/// The largest message that is taken in: the text of a mail, without its attachments.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// The conversation service.
pub struct Service;

#[async_trait]
impl Component for Service {
    fn name(&self) -> &'static str {
        "conversation"
    }

    fn migrator(&self) -> Option<&'static Migrator> {
        Some(&MIGRATOR)
    }

    async fn start(&self, context: Context) -> Result<Front, BoxError> {
        let app = Arc::new(open(&context).await?);
        answers::purge_regularly(&context.drain, app.database.pool(), &context.clock);
        feeds::start(&app, &context);
        hub::start(&app);
        janitor::start(&app);
        presence::start(&app);
        router::start(&app);
        shifts::start(&app);
        reassigner::start(&app);
        archiver::start(&app);
        alerts::start(&app);
        unanswered::start(&app);
        bots::start(&app);
        sender::start(&app, context.network.to("mailbox").signed(&context.signer));
        let pool = app.database.pool().clone();
        Deletions { pool: pool.clone(), blobs: None, data: &DATA, clock: context.clock.clone() }.start(&context.drain);
        let (database, feed) = (app.database.clone(), app.feed.clone());
        let api = Api(app);
        let ingest = IngestServiceServer::new(api.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        let methods = Methods::new(self.name())
            .with(ConversationServiceServer::new(api.clone()))
            .await
            .with(InboxServiceServer::new(api.clone()))
            .await
            .with(PresenceServiceServer::new(api.clone()))
            .await
            .with(HandlingServiceServer::new(api.clone()))
            .await
            .with(ArchiveServiceServer::new(api.clone()))
            .await
            .with(BoardServiceServer::new(api.clone()))
            .await
            .with(CheckerServiceServer::new(api.clone()))
            .await
            .with(DecisionServiceServer::new(api.clone()))
            .await
            .with(SimulationServiceServer::new(api.clone()))
            .await
            .with(RoutingRuleServiceServer::new(api.clone()))
            .await
            .with(BotServiceServer::new(api.clone()))
            .await
            .with(BotTurnServiceServer::new(api.clone()))
            .await
            .with(ContactGroupServiceServer::new(api.clone()))
            .await
            .with(NoteServiceServer::new(api.clone()))
            .await
            .with(TopicServiceServer::new(api))
            .await
            .with(ingest)
            .await
            .with(feed.into_service())
            .await
            .with(AccountDataServer::new(pool, None, &DATA).into_service())
            .await
            .audited(database);
        Ok(methods.into_front(context.admission, &context.drain)?)
    }
}

async fn open(context: &Context) -> Result<App, BoxError> {
    let settings = Settings::read(&context.env)?;
    let options = pool::Options { max_connections: settings.connections, ..pool::Options::new("diwan-conversation") };
    let pool = pool::open(&settings.database_url, options).await?;
    let head = store::feed::head(&pool).await?;
    let database = Database::new(pool.clone(), Wake::start(&context.drain, &pool));
    Ok(App {
        feed: FeedServer::new(database.clone(), context.clock.clone(), context.drain.clone()),
        database,
        clock: context.clock.clone(),
        drain: context.drain.clone(),
        settings,
        wakeups: Default::default(),
        times_changed: Default::default(),
        bot_times_changed: Default::default(),
        simulations: Default::default(),
        hub: Hub::new(head),
        sessions: Default::default(),
    })
}
