//! What happens at a time: a team's shift begins, a conversation that was put off wakes.

use std::{sync::Arc, time::Duration};

use diwan_runtime::worker::supervise;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error,
    app::App,
    flow::snooze,
    store::{handling, hours},
};

/// The most teams, and conversations, of one look; the next one follows at once.
const MOST: i64 = 500;
/// How often it looks whatever it has heard: other replicas learn of new times too, and a machine's clock can be set.
const AT_LEAST: Duration = Duration::from_mins(1);

/// Starts to wait.
pub fn start(app: &Arc<App>) {
    let waiting = app.clone();
    supervise(&app.drain, "shifts", move || watch(waiting.clone()));
}

/// Every replica waits, and the lock of the row lets one of them act. If that one dies before the team is woken, the sweeper finds it:
/// it counts a team as open from the moment that its shift begins, and what woke into the queue waits there.
async fn watch(app: Arc<App>) -> Result<(), Error> {
    loop {
        let (turned, woken) = (turn_due(&app).await, wake_due(&app).await);
        turned.and(woken)?;
        let shift = hours::next_change(app.database.pool()).await?.unwrap_or(Timestamp::MAX);
        let snooze = handling::next_due(app.database.pool()).await?.unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = app.clock.sleep_until(shift.min(snooze)) => {}
            () = app.times_changed.notified() => {}
            () = tokio::time::sleep(AT_LEAST) => {}
        }
    }
}

/// Turns the shifts that are due. One that fails does not hold up the others; after them the failure makes the next look wait.
async fn turn_due(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let mut outcome = Ok(());
    for (account, team) in hours::due(app.database.pool(), now, MOST).await? {
        let turn = async |tx: &mut PgConnection| hours::turn(tx, account, team, now).await;
        match app.database.transaction("turn shift", turn).await {
            Ok(true) => app.wake([(account, team)]),
            Ok(false) => {}
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

/// Wakes what is due, in the same way.
async fn wake_due(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let mut outcome = Ok(());
    for (account, id) in handling::due(app.database.pool(), now, MOST).await? {
        match wake(app, account, id, now).await {
            Ok(()) => {}
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

async fn wake(app: &App, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    let wake = async |tx: &mut PgConnection| snooze::wake_due(tx, account, id, now).await;
    let waits = app.database.transaction("wake conversation", wake).await?;
    app.wake(waits);
    Ok(())
}
