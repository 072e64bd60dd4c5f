//! Follows the feeds of all services and keeps what they tell, each event once: its id is the same after a replay.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use diwan_feed::{Event, Handler, consume};
use diwan_launch::Context;
use diwan_proto::feed::v1::feed_service_client::FeedServiceClient;
use diwan_store::Database;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{BELL, chain::chain_at_once};
use crate::{
    domain::audit::{Content, event_id},
    error::Error,
    store::audit::{self, Told},
};

/// The services with a feed, and under which name its cursor is kept.
const FEEDS: [(&str, &str); 5] = [
    ("identity", "audit of identity"),
    ("team", "audit of team"),
    ("conversation", "audit of conversation"),
    ("mailbox", "audit of mailbox"),
    ("billing", "audit of billing"),
];

/// Nobody waits for the log; a rush of sign-ins tells one thing at a time.
const PATIENCE: Duration = Duration::from_millis(100);

/// It works a quarter of the time, as long as a batch takes no more than a third of a second: after a rush the log follows a little later.
const LEISURE: u32 = 3;

/// Chains that one transaction appends to, each under a savepoint, of which PostgreSQL keeps 64 at hand. What is told of more accounts
/// waits for its turn.
const AT_ONCE: usize = 32;

/// Starts to follow.
pub fn start(context: &Context, database: &Database) {
    for (service, name) in FEEDS {
        let source = FeedServiceClient::new(context.network.to(service).signed(&context.signer));
        consume(&context.drain, name, source, database.clone(), Gatherer::new(service, database));
    }
}

struct Gatherer {
    service: &'static str,
    database: Database,
    /// Whether the present transaction leaves something to wait for its turn. After one that is rolled back the worker looks in vain.
    left_waiting: AtomicBool,
}

impl Handler for Gatherer {
    type Error = Error;

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn leisure(&self) -> u32 {
        LEISURE
    }

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Error> {
        self.apply_all(tx, &[event]).await.map_err(|(_, error)| error)
    }

    /// A busy account tells thousands of things a second: what is its own is appended at once.
    async fn apply_all(&self, tx: &mut PgConnection, events: &[&Event]) -> Result<(), (usize, Error)> {
        let mut told = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            told.extend(self.told(tx, event).await.map_err(|error| (index, error))?);
        }
        let accounts: BTreeSet<Uuid> = told.iter().map(|(account, ..)| *account).collect();
        // In this order because who makes the first head of an account waits for whoever else makes it.
        for account in accounts.into_iter().take(AT_ONCE) {
            let of_it: Vec<&Told> = told.iter().filter(|(of, ..)| *of == account).collect();
            if chain_at_once(tx, account, &of_it).await.map_err(|error| (0, error))? {
                told.retain(|(of, ..)| *of != account);
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        self.left_waiting.store(true, Ordering::Relaxed);
        audit::receive(tx, &told).await.map_err(|error| (0, error))
    }

    fn committed(&self) {
        if self.left_waiting.swap(false, Ordering::Relaxed) {
            self.database.wake().ring(BELL);
        }
    }
}

impl Gatherer {
    fn new(service: &'static str, database: &Database) -> Self {
        Self { service, database: database.clone(), left_waiting: AtomicBool::new(false) }
    }

    async fn told(&self, tx: &mut PgConnection, event: &Event) -> Result<Option<Told>, Error> {
        let Some(content) = Content::of(self.service, event).map_err(diwan_store::Error::from)? else {
            return Ok(None);
        };
        let account = if content.is_operators_call() { known(tx, event.account).await? } else { event.account };
        Ok(Some((account, event_id(self.service, event), content)))
    }
}

/// An operator may ask for an account that there is not: that concerns the installation.
async fn known(tx: &mut PgConnection, account: Uuid) -> Result<Uuid, Error> {
    Ok(if audit::is_account(tx, account).await? { account } else { Uuid::nil() })
}
