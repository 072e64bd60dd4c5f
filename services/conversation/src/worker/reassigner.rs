//! Works off the reassignments that go on, of whichever process began them.

use std::{sync::Arc, time::Duration};

use diwan_runtime::worker::{chain, supervise};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, app::App, flow::reassign, store::reassignments};

/// Rung when there is one.
pub const BELL: &str = "reassignments";

/// The most that one look finds.
const MOST: i64 = 20;
/// How long to wait for the bell.
const LOOK: Duration = Duration::from_secs(5);

/// Starts it.
pub fn start(app: &Arc<App>) {
    let working = app.clone();
    supervise(&app.drain, "reassigner", move || run(working.clone()));
}

/// Takes a chunk of one of each account in turn, so that a large one does not hold up a small one. One that fails waits for the next look.
async fn run(app: Arc<App>) -> Result<(), Error> {
    let mut woken = app.database.wake().subscribe(BELL);
    loop {
        let mut more = false;
        for (account, id) in reassignments::running(app.database.pool(), MOST).await? {
            match chunk(&app, account, id).await {
                Ok(again) => more |= again,
                Err(error) => {
                    tracing::warn!(reassignment = %id, error = chain(&error), "a reassignment waits for its next try");
                }
            }
        }
        if !more {
            woken.within(LOOK).await;
        }
    }
}

async fn chunk(app: &App, account: Uuid, id: Uuid) -> Result<bool, Error> {
    let chunk = async |tx: &mut PgConnection| reassign::chunk(tx, account, id, app.clock.now()).await;
    let done = app.database.transaction("reassign", chunk).await?;
    app.wake(done.teams);
    Ok(done.more)
}
