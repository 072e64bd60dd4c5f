//! Forgets what nobody asks for any more.

use std::{sync::Arc, time::Duration};

use diwan_runtime::{Clock, Drain, worker::supervise};
use diwan_store::Database;
use jiff::Timestamp;

use crate::{
    error::Error,
    store::{
        challenges, codes, devices, failures, numbers, passwords, principal_credentials, revocations, second_factors,
        sessions,
    },
};

const EVERY: Duration = Duration::from_hours(1);
/// Streams begin with the last ten minutes.
const REVOCATIONS_KEPT: Duration = Duration::from_hours(1);
/// So slow a guesser gets nowhere.
const FAILURES_KEPT: Duration = Duration::from_hours(30 * 24);

/// Who is late learns for so long that his confirmation has expired.
const NUMBERS_KEPT: Duration = Duration::from_hours(1);

/// Starts the worker.
pub fn start(drain: &Drain, database: Database, clock: Arc<dyn Clock>) {
    supervise(drain, "identity janitor", move || tidy(database.clone(), clock.clone()));
}

async fn tidy(database: Database, clock: Arc<dyn Clock>) -> Result<(), Error> {
    loop {
        let now = clock.now();
        let mut connection = database.pool().acquire().await?;
        while revocations::purge(&mut connection, before(now, REVOCATIONS_KEPT)).await? > 0 {}
        while sessions::purge(&mut connection, now).await? > 0 {}
        while failures::purge(&mut connection, before(now, FAILURES_KEPT)).await? > 0 {}
        while passwords::purge_resets(&mut connection, now).await? > 0 {}
        while codes::purge(&mut connection, now).await? > 0 {}
        while challenges::purge(&mut connection, now).await? > 0 {}
        while devices::purge(&mut connection, now).await? > 0 {}
        while second_factors::purge_pending(&mut connection, now).await? > 0 {}
        while numbers::purge_pending(&mut connection, before(now, NUMBERS_KEPT)).await? > 0 {}
        while principal_credentials::purge_taken(&mut connection, now).await? > 0 {}
        drop(connection);
        clock.sleep(EVERY).await;
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}
