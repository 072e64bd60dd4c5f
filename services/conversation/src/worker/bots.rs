//! The time of conversations with a bot: it ends where the bot, or the customer, leaves the other without an answer for too long.

use std::{sync::Arc, time::Duration};

use diwan_runtime::worker::supervise;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, app::App, flow::bot_talk, store::bot_turns};

/// The most conversations of one look; the next one follows at once.
const MOST: i64 = 500;
/// How often it looks whatever it has heard: another replica may have died with a time that only it knew of.
const AT_LEAST: Duration = Duration::from_mins(1);

/// Starts to wait.
pub fn start(app: &Arc<App>) {
    let waiting = app.clone();
    supervise(&app.drain, "bots", move || watch(waiting.clone()));
}

/// Every replica waits, and the version of the conversation lets one of them act.
async fn watch(app: Arc<App>) -> Result<(), Error> {
    loop {
        end_due(&app).await?;
        let next = bot_turns::next_due(app.database.pool()).await?.unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            () = app.bot_times_changed.notified() => {}
            () = tokio::time::sleep(AT_LEAST) => {}
        }
    }
}

/// Ends what is due. One that fails does not hold up the others; after them the failure makes the next look wait.
async fn end_due(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let mut outcome = Ok(());
    for (account, id) in bot_turns::due(app.database.pool(), now, MOST).await? {
        if let Err(error) = end(app, account, id, now).await {
            outcome = Err(error);
        }
    }
    outcome
}

async fn end(app: &App, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    let end = async |tx: &mut PgConnection| bot_talk::time_out(tx, account, id, now).await;
    let waits = app.database.transaction("end bot's time", end).await?;
    app.wake(waits);
    Ok(())
}
