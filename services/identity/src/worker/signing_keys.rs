//! Rotates the keys of access tokens by their schedule.
//!
//! Every replica looks; what is due is done under the lock of the table and looked at again there, so one replica makes the
//! next key and the others find it.

use std::{sync::Arc, time::Duration};

use diwan_runtime::{Clock, Drain, worker::supervise};
use diwan_store::Database;
use sqlx::PgConnection;

use crate::{
    domain::{Ring, SigningKey},
    error::Error,
    signing::{AccessSigner, is_due},
    store::signing_keys,
};

/// Nothing here is urgent: the next key was published long before.
const EVERY: Duration = Duration::from_mins(1);

/// Makes the first keys where there are none, opens those that there are, and starts the worker. Keys that cannot be opened are an
/// error now, not at the first sign-in.
pub async fn start(
    drain: &Drain,
    database: Database,
    signer: &AccessSigner,
    clock: Arc<dyn Clock>,
    period: Duration,
) -> Result<(), Error> {
    settle(&database, signer, &clock, period).await?;
    let stored = signing_keys::list(&mut *database.pool().acquire().await?, 0).await?;
    signer.hold(&stored)?;
    let signer = signer.clone();
    supervise(drain, "signing keys", move || rotate(database.clone(), signer.clone(), clock.clone(), period));
    Ok(())
}

async fn rotate(
    database: Database,
    signer: AccessSigner,
    clock: Arc<dyn Clock>,
    period: Duration,
) -> Result<(), Error> {
    loop {
        clock.sleep(EVERY).await;
        settle(&database, &signer, &clock, period).await?;
    }
}

async fn settle(
    database: &Database,
    signer: &AccessSigner,
    clock: &Arc<dyn Clock>,
    period: Duration,
) -> Result<(), Error> {
    let stored = signing_keys::list(&mut *database.pool().acquire().await?, 0).await?;
    let keys: Vec<SigningKey> = stored.into_iter().map(|stored| stored.key).collect();
    if !is_due(Ring { keys: &keys, now: clock.now() }) {
        return Ok(());
    }
    database
        .transaction("rotate signing keys", async |tx: &mut PgConnection| signer.settle(tx, clock.now(), period).await)
        .await
}
