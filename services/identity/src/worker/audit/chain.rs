//! Puts what the feeds told into the chains of the accounts.

use std::time::Duration;

use diwan_runtime::{Drain, worker::supervise};
use diwan_store::Database;
use prost::Message as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::BELL;
use crate::{
    domain::audit::{Content, Entry},
    error::Error,
    store::audit,
};

/// A lost wake-up costs no more than this.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How many accounts a look finds.
const ACCOUNTS: i64 = 100;
/// How many entries one transaction appends.
const ENTRIES: i64 = 500;

/// Starts the worker. Every replica runs it; at one account one works at a time.
pub fn start(drain: &Drain, database: Database) {
    supervise(drain, "audit chain", move || chain_all(database.clone()));
}

async fn chain_all(database: Database) -> Result<(), Error> {
    let mut woken = database.wake().subscribe(BELL);
    loop {
        let mut connection = database.pool().acquire().await?;
        let accounts = audit::waiting(&mut connection, ACCOUNTS).await?;
        drop(connection);
        for account in &accounts {
            chain(&database, *account).await?;
        }
        if accounts.is_empty() {
            woken.within(LOOK_AGAIN).await;
        }
    }
}

/// Appends what waits for one account.
///
/// The numbers have no gap and every hash follows the one before: whoever appends holds the row of the head from before he reads
/// it until his entries are committed, and the head moves with them. No event stands twice: what is known is looked up under
/// that lock, and a unique index forbids it.
async fn chain(database: &Database, account: Uuid) -> Result<(), Error> {
    database
        .transaction("chain audit entries", async |tx: &mut PgConnection| {
            let mut head = audit::lock_head(tx, account).await?;
            let waiting = audit::take_waiting(tx, account, ENTRIES).await?;
            let ids: Vec<_> = waiting.iter().map(|(id, _)| id.clone()).collect();
            let known = audit::known(tx, account, &ids).await?;
            let mut entries: Vec<(Entry, Content)> = Vec::with_capacity(waiting.len());
            for (event_id, encoded) in waiting.into_iter().filter(|(id, _)| !known.contains(id)) {
                let content = Content::decode(encoded.as_slice()).map_err(diwan_store::Error::from)?;
                let (entry, next) = head.append(account, event_id, encoded);
                entries.push((entry, content));
                head = next;
            }
            audit::append(tx, account, &entries, head).await
        })
        .await
}
