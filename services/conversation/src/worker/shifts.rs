//! Wakes a team's routing when its shift begins.

use std::{sync::Arc, time::Duration};

use diwan_runtime::worker::supervise;
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::{Error, app::App, store::hours};

/// The most teams of one look; the next one follows at once.
const MOST: i64 = 500;
/// How often it looks whatever it has heard: other replicas learn of new hours too, and a machine's clock can be set.
const AT_LEAST: Duration = Duration::from_mins(1);

/// Starts to wait for shifts.
pub fn start(app: &Arc<App>) {
    let waiting = app.clone();
    supervise(&app.drain, "shifts", move || watch(waiting.clone()));
}

/// Every replica waits, and the lock of the team's row lets one of them turn it. If that one dies before the team is woken, the
/// sweeper finds it: it counts a team as open from the moment that its shift begins.
async fn watch(app: Arc<App>) -> Result<(), Error> {
    loop {
        turn_due(&app).await?;
        let next = hours::next_change(app.database.pool()).await?.unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = app.clock.sleep_until(next) => {}
            () = app.hours_changed.notified() => {}
            () = tokio::time::sleep(AT_LEAST) => {}
        }
    }
}

async fn turn_due(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    for (account, team) in hours::due(app.database.pool(), now, MOST).await? {
        let turn = async |tx: &mut PgConnection| hours::turn(tx, account, team, now).await;
        if app.database.transaction("turn shift", turn).await? {
            app.wake([(account, team)]);
        }
    }
    Ok(())
}
