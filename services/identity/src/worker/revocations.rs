//! Reads revocations for all streams of this process.
//!
//! A look takes every visible row whose transaction is not older than the oldest one that ran at the look before: the rows
//! that could have been invisible then. It may return rows that an earlier look returned, and those are dropped by their ids;
//! to send one twice would be harmless. Unlike the feed, which must keep an order and so waits for the oldest running
//! transaction, nothing here waits: a revocation is visible as soon as it is committed, whatever else is open.
//!
//! `complete_until` is the clock *before* the look's snapshot: what was committed before it is in the snapshot.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use diwan_runtime::{Clock, Drain, worker::supervise};
use diwan_store::{Database, wake};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    error::Error,
    store::revocations::{self, Row},
};

/// Twice the life of an access token: what is older has expired by itself.
pub const WINDOW: Duration = Duration::from_mins(10);
/// A heartbeat is due every second.
const REST: Duration = Duration::from_millis(500);

/// The revocations of the last ten minutes, in the order they were found.
#[derive(Default)]
pub struct Log {
    rows: VecDeque<Row>,
    known: HashSet<Uuid>,
    /// How many rows were ever found: the number of the next one.
    found: u64,
    /// Everything committed before it has been found; `None` until the first look.
    pub complete_until: Option<Timestamp>,
}

impl Log {
    /// The rows from number `from` on, and the number after the last one.
    pub fn since(&self, from: u64) -> (impl Iterator<Item = &Row>, u64) {
        let first = self.found - self.rows.len() as u64;
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        (self.rows.iter().skip(skip), self.found)
    }

    fn learn(&mut self, rows: Vec<Row>, complete_until: Timestamp) {
        for row in rows {
            if self.known.insert(row.id) {
                self.rows.push_back(row);
                self.found += 1;
            }
        }
        let oldest = before(complete_until, WINDOW);
        while let Some(row) = self.rows.pop_front_if(|row| row.at < oldest) {
            self.known.remove(&row.id);
        }
        self.complete_until = Some(complete_until);
    }
}

/// Starts the reader. Streams watch what it returns.
pub fn start(drain: &Drain, database: Database, clock: Arc<dyn Clock>) -> watch::Receiver<Log> {
    let (log, watched) = watch::channel(Log::default());
    let log = Arc::new(log);
    supervise(drain, "revocations reader", move || read(database.clone(), clock.clone(), log.clone()));
    watched
}

async fn read(database: Database, clock: Arc<dyn Clock>, log: Arc<watch::Sender<Log>>) -> Result<(), Error> {
    let mut committed = database.wake().subscribe(wake::COMMITTED);
    let mut horizon = 0;
    loop {
        let complete_until = clock.now();
        let mut connection = database.pool().acquire().await?;
        let look = revocations::look(&mut connection, horizon, before(complete_until, WINDOW)).await?;
        drop(connection);
        horizon = look.horizon;
        log.send_modify(|log| log.learn(look.rows, complete_until));
        committed.within(REST).await;
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use diwan_proto::identity::v1::RevocationSubject;
    use diwan_runtime::clock::after;

    use super::*;

    fn row(id: u128, at: Timestamp) -> Row {
        let (id, subject_id) = (Uuid::from_u128(id), Uuid::from_u128(id));
        Row { id, subject: RevocationSubject::User, subject_id, epoch: 1, at }
    }

    fn ids(log: &Log, from: u64) -> (Vec<u128>, u64) {
        let (rows, next) = log.since(from);
        (rows.map(|row| row.id.as_u128()).collect(), next)
    }

    #[test]
    fn each_row_is_told_once_and_forgotten_after_the_window() {
        let start = Timestamp::UNIX_EPOCH;
        let mut log = Log::default();
        log.learn(vec![row(1, start), row(2, start)], start);
        log.learn(vec![row(2, start), row(3, after(start, WINDOW))], after(start, WINDOW));
        assert_eq!(ids(&log, 0), (vec![1, 2, 3], 3));
        assert_eq!(ids(&log, 2), (vec![3], 3));
        let later = after(start, WINDOW + Duration::from_secs(1));
        log.learn(vec![row(4, later)], later);
        assert_eq!(ids(&log, 0), (vec![3, 4], 4));
        assert_eq!(ids(&log, 3), (vec![4], 4));
        assert_eq!(ids(&log, 4), (vec![], 4));
    }
}
