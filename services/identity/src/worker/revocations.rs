//! Reads revocations for all streams of this process.
//!
//! A look takes every visible row whose transaction is not older than the oldest one that ran at the look before: the rows
//! that could have been invisible then. It may return rows that an earlier look returned, and those are dropped by their ids;
//! to send one twice would be harmless. Unlike the feed, which must keep an order and so waits for the oldest running
//! transaction, nothing here waits: a revocation is visible as soon as it is committed, whatever else is open.
//!
//! `complete_until` is the clock *before* the look's snapshot: what was committed before it is in the snapshot.
//!
//! The keys of access tokens and the revocations of operators' tokens are few: each look reads them whole.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use diwan_access::{OPERATORS_KEPT, keys::json_web_key};
use diwan_proto::identity::v1::{KeySet, OperatorRevocation};
use diwan_runtime::{
    Clock, Drain,
    worker::{chain, supervise},
};
use diwan_store::{Database, wake};
use jiff::Timestamp;
use sqlx::PgConnection;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use crate::{
    api::encode,
    domain::{Ring, SigningKey},
    error::Error,
    signing::AccessSigner,
    store::{
        operators,
        revocations::{self, Row},
        signing_keys::{self, Stored},
    },
};

/// Twice the life of an access token: what is older has expired by itself.
pub const WINDOW: Duration = Duration::from_mins(10);
/// A heartbeat is due every second.
const REST: Duration = Duration::from_millis(900);
/// How soon it looks again, so that a rush of sign-ins, each of which commits, is not a rush of looks.
const PACE: Duration = Duration::from_millis(50);

/// The revocations of the last ten minutes, in the order they were found.
#[derive(Default)]
pub struct Log {
    rows: VecDeque<Row>,
    known: HashSet<Uuid>,
    /// How many rows were ever found: the number of the next one.
    found: u64,
    /// Everything committed before it has been found; `None` until the first look.
    pub complete_until: Option<Timestamp>,
    /// What verifiers are told whole.
    pub standing: Arc<Standing>,
}

/// Which keys are good, and which of operators' tokens that may not have expired are not.
#[derive(Debug, Default, PartialEq)]
pub struct Standing {
    /// The public keys of access tokens.
    pub key_set: KeySet,
    /// The newest first.
    pub operators: Vec<OperatorRevocation>,
}

impl Log {
    /// The rows from number `from` on, and the number after the last one.
    pub fn since(&self, from: u64) -> (impl Iterator<Item = &Row>, u64) {
        let first = self.found - self.rows.len() as u64;
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        (self.rows.iter().skip(skip), self.found)
    }

    fn learn(&mut self, rows: Vec<Row>, standing: Standing, complete_until: Timestamp) {
        if *self.standing != standing {
            self.standing = Arc::new(standing);
        }
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
pub fn start(drain: &Drain, database: Database, signer: &AccessSigner, clock: Arc<dyn Clock>) -> watch::Receiver<Log> {
    let (log, watched) = watch::channel(Log::default());
    let (log, signer) = (Arc::new(log), signer.clone());
    supervise(drain, "revocations reader", move || read(database.clone(), signer.clone(), clock.clone(), log.clone()));
    watched
}

async fn read(
    database: Database,
    signer: AccessSigner,
    clock: Arc<dyn Clock>,
    log: Arc<watch::Sender<Log>>,
) -> Result<(), Error> {
    let mut committed = database.wake().subscribe(wake::COMMITTED);
    let (mut horizon, mut told) = (0, false);
    loop {
        let (begun, complete_until) = (Instant::now(), clock.now());
        let mut connection = database.pool().acquire().await?;
        let look = revocations::look(&mut connection, horizon, before(complete_until, WINDOW)).await?;
        let stored = signing_keys::list(&mut connection, 0).await?;
        let standing = standing(&mut connection, &stored, complete_until).await?;
        drop(connection);
        match signer.hold(&stored) {
            Ok(()) => told = false,
            // Revocations go on. The keys that are held are good until another replica's, which this one cannot open, signs.
            Err(error) if !told => {
                tracing::error!(error = chain(&error), "a signing key cannot be used here");
                told = true;
            }
            Err(_) => {}
        }
        horizon = look.horizon;
        log.send_modify(|log| log.learn(look.rows, standing, complete_until));
        committed.within(REST).await;
        sleep_until(begun + PACE).await;
    }
}

async fn standing(tx: &mut PgConnection, stored: &[Stored], now: Timestamp) -> Result<Standing, Error> {
    let keys: Vec<SigningKey> = stored.iter().map(|stored| stored.key.clone()).collect();
    let ring = Ring { keys: &keys, now };
    let keys = keys.iter().filter(|key| ring.accepts(key)).map(|key| json_web_key(&key.public)).collect();
    let revoked = operators::list(tx, Some(before(now, OPERATORS_KEPT)), None, None, i64::MAX).await?;
    let operators = revoked.iter().map(encode::refused_tokens).collect();
    Ok(Standing { key_set: KeySet { keys }, operators })
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
        log.learn(vec![row(1, start), row(2, start)], Standing::default(), start);
        log.learn(vec![row(2, start), row(3, after(start, WINDOW))], Standing::default(), after(start, WINDOW));
        assert_eq!(ids(&log, 0), (vec![1, 2, 3], 3));
        assert_eq!(ids(&log, 2), (vec![3], 3));
        let later = after(start, WINDOW + Duration::from_secs(1));
        log.learn(vec![row(4, later)], Standing::default(), later);
        assert_eq!(ids(&log, 0), (vec![3, 4], 4));
        assert_eq!(ids(&log, 3), (vec![4], 4));
        assert_eq!(ids(&log, 4), (vec![], 4));
    }
}
