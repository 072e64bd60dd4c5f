//! Looks at conversations whose holders have not answered, when their time comes.

use std::sync::Arc;

use diwan_runtime::worker::{chain, supervise};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, app::App, flow, store::unanswered};

/// Rung when there may be one whose time has come before the next that is known.
pub const BELL: &str = "unanswered";

/// The most of one look; the next one follows at once.
const MOST: i64 = 200;

/// Starts to wait.
pub fn start(app: &Arc<App>) {
    let waiting = app.clone();
    supervise(&app.drain, "unanswered", move || watch(waiting.clone()));
}

/// Every replica waits, and the locks let one of them act. If that one dies before the team is woken, the routing's sweeper finds what
/// waits. A timer is set well before its time, so the look that comes anyway is there for it though nobody rang.
async fn watch(app: Arc<App>) -> Result<(), Error> {
    let mut woken = app.database.wake().subscribe(BELL);
    loop {
        look_at_due(&app).await?;
        let next = unanswered::next_due(app.database.pool()).await?.unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            _ = woken.within(app.settings.sweep) => {}
        }
    }
}

/// One that fails does not hold up the others; after them the failure makes the next look wait.
async fn look_at_due(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let mut outcome = Ok(());
    for (account, id) in unanswered::due(app.database.pool(), now, MOST).await? {
        if let Err(error) = look(app, account, id, now).await {
            tracing::warn!(conversation = %id, error = chain(&error), "an unanswered conversation waits for the next look");
            outcome = Err(error);
        }
    }
    outcome
}

async fn look(app: &App, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    let look = async |tx: &mut PgConnection| flow::unanswered::look(tx, account, id, now).await;
    let waits = app.database.transaction("offer unanswered", look).await?;
    app.wake(waits);
    Ok(())
}
