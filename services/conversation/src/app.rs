//! What every handler and worker of this service shares.

use std::sync::Arc;

use diwan_feed::FeedServer;
use diwan_runtime::{Clock, Drain};
use diwan_store::Database;
use tokio::sync::Notify;

use crate::{
    api::simulations::Running,
    config::Settings,
    flow::Team,
    worker::{hub::Hub, sender, sessions::Sessions, wakeups::Wakeups},
};

/// One process of the service.
pub struct App {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When to end.
    pub drain: Drain,
    /// Settings.
    pub settings: Settings,
    /// Teams that the routing of this process looks at next.
    pub wakeups: Wakeups,
    /// The working hours of a team may have changed, or a conversation was put off.
    pub times_changed: Notify,
    /// A conversation with a bot is due at another time than before.
    pub bot_times_changed: Notify,
    /// Simulations that run.
    pub simulations: Arc<Running>,
    /// Our own feed, for the other services and for ours: those who look at the same place at the same time look once.
    pub feed: FeedServer,
    /// Our own feed, for the streams.
    pub hub: Hub,
    /// The streams of this process.
    pub sessions: Sessions,
}

impl App {
    /// A bot has heard or said something: there may be a message to send, and its time runs anew.
    pub fn bot_spoke(&self) {
        self.database.wake().ring(sender::BELL);
        self.bot_times_changed.notify_one();
    }

    /// Has the routing look at these teams.
    pub fn wake(&self, teams: impl IntoIterator<Item = Team>) {
        teams.into_iter().for_each(|team| self.wakeups.mark(team));
    }
}
