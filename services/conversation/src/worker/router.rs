//! The routing: decides as soon as there is something to decide on.

use std::{convert::Infallible, sync::Arc};

use diwan_runtime::worker::{chain, supervise};
use sqlx::PgConnection;

use crate::{
    Error,
    app::App,
    flow::{
        Team,
        assign::{BATCH, assign},
    },
    store::teams,
};

/// The most teams of one sweep; the next one finds the rest.
const SWEEP: i64 = 1000;

/// Starts the deciders and the sweeper.
pub fn start(app: &Arc<App>) {
    for _ in 0..app.settings.deciders.max(1) {
        let decider = app.clone();
        supervise(&app.drain, "routing", move || decide(decider.clone()));
    }
    let sweeper = app.clone();
    supervise(&app.drain, "routing sweeper", move || sweep(sweeper.clone()));
}

async fn decide(app: Arc<App>) -> Result<(), Error> {
    loop {
        let job = app.wakeups.next().await;
        match batch(&app, job.team).await {
            Ok(BATCH) => app.wakeups.mark(job.team),
            Ok(_) => {}
            Err(error) => {
                // The supervisor waits before it starts this again, so a broken database is not asked without pause.
                app.wakeups.mark(job.team);
                return Err(error);
            }
        }
    }
}

/// Decides on one batch of one team. Returns how many conversations were assigned.
pub async fn batch(app: &App, (account, team): Team) -> Result<usize, Error> {
    app.database
        .transaction("assign", async |tx: &mut PgConnection| assign(tx, account, team, app.clock.now()).await)
        .await
}

async fn sweep(app: Arc<App>) -> Result<(), Infallible> {
    loop {
        match teams::deliverable(app.database.pool(), app.clock.now(), SWEEP).await {
            Ok(found) => app.wake(found),
            Err(error) => tracing::warn!(error = chain(&error), "the routing sweeper could not look"),
        }
        tokio::time::sleep(app.settings.sweep).await;
    }
}
