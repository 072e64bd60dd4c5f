//! Moves the conversations of archived teams, of whichever process heard of it.

use std::{sync::Arc, time::Duration};

use diwan_runtime::worker::{chain, supervise};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error,
    app::App,
    flow::archive::{self, Step},
    store,
};

/// Rung when a team may have been archived.
pub const BELL: &str = "archives";

/// The most teams of one look.
const MOST: i64 = 20;
/// How long to wait for the bell.
const LOOK: Duration = Duration::from_secs(5);

/// Starts it.
pub fn start(app: &Arc<App>) {
    let working = app.clone();
    supervise(&app.drain, "archiver", move || run(working.clone()));
}

/// Takes a chunk of a team of each account in turn, so that a large one does not hold up a small one. One that fails waits for the next
/// look.
async fn run(app: Arc<App>) -> Result<(), Error> {
    let mut woken = app.database.wake().subscribe(BELL);
    loop {
        let mut more = false;
        for (account, team) in store::archive::moving(app.database.pool(), MOST).await? {
            match step(&app, account, team).await {
                Ok(again) => more |= again,
                Err(error) => {
                    tracing::warn!(%team, error = chain(&error), "an archived team's conversations wait for the next try");
                }
            }
        }
        if !more {
            woken.within(LOOK).await;
        }
    }
}

/// Whether to look again at once: it was this process's turn, so there may be another chunk, or another team's.
async fn step(app: &App, account: Uuid, team: Uuid) -> Result<bool, Error> {
    let now = app.clock.now();
    let chunk = async |tx: &mut PgConnection| archive::chunk(tx, account, team, now).await;
    match app.database.transaction("move chunk", chunk).await? {
        Step::Elsewhere => Ok(false),
        Step::Moved(to) => {
            app.wake([to]);
            Ok(true)
        }
        Step::Empty => {
            let finish = async |tx: &mut PgConnection| store::archive::finish(tx, account, team, now).await;
            app.database.transaction("finish archiving", finish).await?;
            Ok(true)
        }
    }
}
