//! Puts what the feeds told into the chains of the accounts: at once, or from where it waits when that was not possible.

use std::{collections::HashMap, time::Duration};

use diwan_runtime::{
    Drain,
    worker::{chain as causes, supervise},
};
use diwan_store::Database;
use prost::Message as _;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::BELL;
use crate::{
    domain::audit::{Content, Entry, Head},
    error::Error,
    store::audit::{self, Told},
};

/// A lost wake-up costs no more than this.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// What happens meanwhile is chained together: each transaction more costs as much as many entries.
const TOGETHER: Duration = Duration::from_millis(100);
/// How many accounts a look finds.
const ACCOUNTS: i64 = 100;
/// A chain that cannot go on, because somebody has touched it, is tried again so often.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// How many entries one transaction appends.
const ENTRIES: usize = 500;

/// Starts the worker. Every replica runs it; at one account one works at a time.
pub fn start(drain: &Drain, database: Database) {
    supervise(drain, "audit chain", move || chain_all(database.clone()));
}

/// Round after round over all accounts, a batch each, so that neither one with much to tell nor one whose chain cannot go on keeps
/// the others waiting.
async fn chain_all(database: Database) -> Result<(), Error> {
    let mut woken = database.wake().subscribe(BELL);
    let mut stuck = HashMap::new();
    loop {
        let (mut after, mut most) = (None, 0);
        loop {
            let mut connection = database.pool().acquire().await?;
            let accounts = audit::waiting(&mut connection, after, ACCOUNTS).await?;
            drop(connection);
            let Some(last) = accounts.last() else { break };
            after = Some(*last);
            for account in accounts {
                most = most.max(chain_if_possible(&database, account, &mut stuck).await?);
            }
        }
        if most == 0 {
            woken.within(LOOK_AGAIN).await;
        } else if most < ENTRIES {
            sleep(TOGETHER).await;
        }
    }
}

/// How many entries were appended. Only what concerns every account is an error.
async fn chain_if_possible(
    database: &Database,
    account: Uuid,
    stuck: &mut HashMap<Uuid, Instant>,
) -> Result<usize, Error> {
    if stuck.get(&account).is_some_and(|since| since.elapsed() < TRY_AGAIN) {
        return Ok(0);
    }
    stuck.remove(&account);
    match chain(database, account).await {
        Ok(appended) => Ok(appended),
        Err(Error::Store(error)) if error.is_retryable() || error.is_unavailable() => Err(error.into()),
        Err(error) => {
            tracing::error!(%account, error = causes(&error), "what happened in an account cannot be put into its audit log");
            stuck.insert(account, Instant::now());
            Ok(0)
        }
    }
}

/// Appends what waits for one account. Returns how much that was, what was known already as well.
///
/// The numbers have no gap and every hash follows the one before: whoever appends holds the row of the head from before he reads
/// it until his entries are committed, and the head moves with them. No event stands twice: what is known is looked up under
/// that lock, and a unique index forbids it.
async fn chain(database: &Database, account: Uuid) -> Result<usize, Error> {
    database
        .transaction("chain audit entries", async |tx: &mut PgConnection| {
            let head = audit::lock_head(tx, account).await?;
            let waiting = audit::take_waiting(tx, account, i64::try_from(ENTRIES).unwrap_or(i64::MAX)).await?;
            let count = waiting.len();
            append(tx, (account, head), waiting).await?;
            Ok(count)
        })
        .await
}

/// Appends what the chain does not hold yet; whoever calls it holds the head.
async fn append(
    tx: &mut PgConnection,
    (account, mut head): (Uuid, Head),
    told: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<(), Error> {
    let ids: Vec<_> = told.iter().map(|(id, _)| id.clone()).collect();
    let known = audit::known(tx, account, &ids).await?;
    let mut entries: Vec<(Entry, Content)> = Vec::with_capacity(told.len());
    for (event_id, encoded) in told.into_iter().filter(|(id, _)| !known.contains(id)) {
        let content = Content::decode(encoded.as_slice()).map_err(diwan_store::Error::from)?;
        let (entry, next) = head.append(account, event_id, encoded);
        entries.push((entry, content));
        head = next;
    }
    audit::append(tx, account, &entries, head).await
}

/// Appends what an account is told now, if nothing waits that came before; otherwise it is to wait, too. So it is where somebody holds the
/// head, so that no feed waits for one account, nor two transactions that hold several heads for each other; and where the chain cannot go
/// on, which is left as it was.
///
/// The order of a feed holds: what is found waiting under the lock of the head came before, and stays until it has been appended.
pub(super) async fn chain_at_once(tx: &mut PgConnection, account: Uuid, told: &[&Told]) -> Result<bool, Error> {
    let mut attempt = tx.begin().await?;
    let appended = async {
        let Some(head) = audit::lock_free_head(&mut attempt, account).await? else { return Ok(false) };
        if !audit::waits_for_nothing(&mut attempt, account).await? {
            return Ok(false);
        }
        let told = told.iter().map(|(_, id, content)| (id.to_vec(), content.encode_to_vec())).collect();
        append(&mut attempt, (account, head), told).await?;
        Ok::<_, Error>(true)
    };
    match appended.await {
        Ok(true) => attempt.commit().await.map(|()| true).map_err(Error::from),
        Err(Error::Store(error)) if error.is_retryable() || error.is_unavailable() => Err(error.into()),
        Ok(false) | Err(_) => attempt.rollback().await.map(|()| false).map_err(Error::from),
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
