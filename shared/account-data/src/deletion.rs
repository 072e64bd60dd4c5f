//! Deleting what a service keeps of an account, once identity's feed has told so.
//!
//! The account's id stays in `account_deletions` for ever. What comes late, because a feed is replayed or another service was restored
//! from a backup, is found when the account is looked through again.
//!
//! An account is a worker's as long as its `due_at` is what that worker wrote there last: whoever notes the account again, or takes it
//! over when the lease has run out, writes another time, and only who still has it renews the lease or says that nothing is left.

use std::{pin::pin, sync::Arc, time::Duration};

use diwan_blobs::{BlobError, Blobs};
use diwan_feed::Event;
use diwan_proto::identity::v1::AccountDeleted;
use diwan_runtime::{
    Clock, Drain,
    clock::after,
    worker::{chain, supervise},
};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{Data, Table};

/// So often the worker looks for accounts to delete.
const EVERY: Duration = Duration::from_secs(10);
/// For so long an account stays a worker's that says nothing more: it failed, or died with its process.
const LEASE: Duration = Duration::from_secs(30);
/// So often a worker that goes on says so: two of them may come late.
const RENEWAL: Duration = Duration::from_secs(10);
/// So often a deleted account is looked through for what came late.
const AGAIN: Duration = Duration::from_hours(30 * 24);
/// How many rows one statement deletes.
const CHUNK: i64 = 1000;

/// What stops a deletion. It is tried again later, and goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed a statement")]
    Store(#[from] sqlx::Error),
    /// The blob store failed.
    #[error("blobs cannot be deleted")]
    Blobs(#[from] BlobError),
}

/// Whether [`hear`] would do something about an event.
pub fn concerns(event: &Event) -> bool {
    event.is::<AccountDeleted>()
}

/// Takes an event of identity's feed in: notes an account that is to be deleted. The other events it passes over.
///
/// # Errors
/// The event cannot be read, or the database failed.
pub async fn hear(tx: &mut PgConnection, event: &Event, now: Timestamp) -> Result<(), diwan_store::Error> {
    if event.payload::<AccountDeleted>()?.is_some() && !event.account.is_nil() {
        note(tx, event.account, now).await?;
    }
    Ok(())
}

/// Notes an account that is to be deleted, or to be looked through again.
///
/// # Errors
/// The database failed.
pub async fn note(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into account_deletions (account_id, due_at) values ($1, $2)
         on conflict (account_id) do update set due_at = excluded.due_at",
    )
    .bind(account)
    .bind(now.to_sqlx())
    .execute(tx)
    .instrument(diwan_store::span("note account deletion"))
    .await?;
    Ok(())
}

/// Deletes.
#[derive(Clone)]
pub struct Deletions {
    /// Where the rows are.
    pub pool: PgPool,
    /// Where the blobs are, if the service has any.
    pub blobs: Option<Blobs>,
    /// What there is.
    pub data: &'static Data,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// An account that a worker has, and when he said so last.
struct Claim {
    account: Uuid,
    at: Timestamp,
}

impl Claim {
    /// What he wrote there.
    fn due_at(&self) -> Timestamp {
        after(self.at, LEASE)
    }
}

impl Deletions {
    /// Starts the worker. Every replica runs it; at one account one works at a time.
    pub fn start(self, drain: &Drain) {
        supervise(drain, "account deletions", move || {
            let this = self.clone();
            async move { this.run().await }
        });
    }

    async fn run(&self) -> Result<(), sqlx::Error> {
        loop {
            let Some(claim) = self.claim().await? else {
                self.clock.sleep(EVERY).await;
                continue;
            };
            let account = claim.account;
            match self.work(claim).await {
                Ok(Some(rows)) => {
                    tracing::info!(%account, rows, "an account was looked through, and what was there deleted");
                }
                Ok(None) => tracing::info!(%account, "an account was noted again, or taken over by another worker"),
                // Its lease stays: the others are not kept waiting.
                Err(error) => {
                    tracing::error!(%account, error = chain(&error), "an account cannot be deleted and is tried again");
                }
            }
        }
    }

    /// An account that is due, which nobody else gets for as long as the lease is.
    async fn claim(&self) -> Result<Option<Claim>, sqlx::Error> {
        let at = self.clock.now();
        let claimed = sqlx::query_scalar(
            "update account_deletions set due_at = $2 where account_id = (
                 select account_id from account_deletions where due_at <= $1 order by due_at limit 1 for update skip locked)
             returning account_id",
        )
        .bind(at.to_sqlx())
        .bind(after(at, LEASE).to_sqlx());
        let claimed =
            claimed.fetch_optional(&self.pool).instrument(diwan_store::span("claim account deletion")).await?;
        Ok(claimed.map(|account| Claim { account, at }))
    }

    /// Deletes everything of a claimed account and says so, or `None` when it is no longer this worker's.
    async fn work(&self, mut claim: Claim) -> Result<Option<u64>, Error> {
        let mut deletion = pin!(self.delete(claim.account));
        let rows = loop {
            tokio::select! {
                rows = &mut deletion => break rows?,
                () = self.clock.sleep_until(after(claim.at, RENEWAL)) => {
                    let at = self.clock.now();
                    if !self.move_on(&claim, after(at, LEASE), None).await? {
                        return Ok(None);
                    }
                    claim.at = at;
                }
            }
        };
        let now = self.clock.now();
        Ok(self.move_on(&claim, after(now, AGAIN), Some(now)).await?.then_some(rows))
    }

    /// Moves the next look at an account that is still the worker's, who may have finished. Returns whether it was his.
    async fn move_on(&self, claim: &Claim, to: Timestamp, finished_at: Option<Timestamp>) -> Result<bool, sqlx::Error> {
        let moved = sqlx::query(
            "update account_deletions set due_at = $3, finished_at = coalesce(finished_at, $4)
             where account_id = $1 and due_at = $2",
        )
        .bind(claim.account)
        .bind(claim.due_at().to_sqlx())
        .bind(to.to_sqlx())
        .bind(finished_at.map(Timestamp::to_sqlx));
        let moved = moved.execute(&self.pool).instrument(diwan_store::span("move account deletion")).await?;
        Ok(moved.rows_affected() > 0)
    }

    /// Deletes everything of an account, again and again until nothing is found, and returns how many rows that were.
    ///
    /// # Errors
    /// See [`Error`]; what was deleted before it stays deleted.
    pub async fn delete(&self, account: Uuid) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let rows = self.pass(account).await?;
            total += rows;
            if rows == 0 {
                break;
            }
        }
        for space in self.data.blobs {
            if let Some(blobs) = &self.blobs {
                blobs.of(space).of(&account.to_string()).clear().await?;
            }
        }
        Ok(total)
    }

    async fn pass(&self, account: Uuid) -> Result<u64, Error> {
        let mut total = 0;
        for table in self.data.tables {
            let statement = deletion_of(table);
            loop {
                let deleted = sqlx::query(AssertSqlSafe(statement.as_str()))
                    .bind(account)
                    .bind((!table.at_once).then_some(CHUNK))
                    .execute(&self.pool)
                    .instrument(diwan_store::span("delete of account"))
                    .await?
                    .rows_affected();
                total += deleted;
                if deleted == 0 {
                    break;
                }
            }
        }
        Ok(total)
    }
}

/// Deletes $2 rows, all of them where that is null.
fn deletion_of(table: &Table) -> String {
    let Table { name, account, deleted, .. } = table;
    let condition = deleted.map(|condition| format!(" and ({condition})")).unwrap_or_default();
    if table.key.is_empty() {
        return format!("delete from {name} where {account} = $1{condition} and ($2::bigint is null or $2 > 0)");
    }
    let key = table.key.join(", ");
    format!(
        "delete from {name} where {account} = $1{condition} and ({key}) in (
             select {key} from {name} where {account} = $1{condition} limit $2)"
    )
}
