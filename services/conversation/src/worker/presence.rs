//! Extends the leases of the streams that are open here, and makes OFFLINE whoever is gone.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use diwan_runtime::worker::{chain, supervise};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Error, app::App, flow, store::presence, worker::unanswered};

/// How often the gone are looked for, at least and at most.
const OFTEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(4));

/// Starts both.
pub fn start(app: &Arc<App>) {
    let extender = app.clone();
    supervise(&app.drain, "session leases", move || extend(extender.clone()));
    let sweeper = app.clone();
    supervise(&app.drain, "presence sweeper", move || sweep(sweeper.clone()));
}

async fn extend(app: Arc<App>) -> Result<(), Infallible> {
    loop {
        let mut open: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (account, id) in app.sessions.list() {
            open.entry(account).or_default().push(id);
        }
        for (account, sessions) in open {
            let until = presence::lease(app.clock.now(), app.settings.lease);
            match presence::extend_sessions(app.database.pool(), account, &sessions, until).await {
                Ok(alive) => sessions.iter().filter(|id| !alive.contains(id)).for_each(|id| app.sessions.end(*id)),
                // The next round is well within the lease, and the others' are due now.
                Err(error) => tracing::warn!(%account, error = chain(&error), "leases could not be extended"),
            }
        }
        tokio::time::sleep(app.settings.lease / 3).await;
    }
}

async fn sweep(app: Arc<App>) -> Result<(), Error> {
    let pause = (app.settings.grace / 4).clamp(OFTEN.0, OFTEN.1);
    let mut last = None;
    loop {
        let gone = presence::gone(app.database.pool(), app.settings.grace, app.clock.now()).await?;
        if last.is_none_or(|last: Instant| last.elapsed() > app.settings.lease) {
            // Nobody could be extended while the database was away, or every replica. It is back: whoever is there is extended
            // within the time of a lease.
            tokio::time::sleep(app.settings.lease).await;
        } else {
            for (account, user) in gone {
                if let Err(error) = leave(&app, account, user).await {
                    tracing::warn!(error = chain(&error), "somebody who is gone could not be made OFFLINE");
                }
            }
        }
        last = Some(Instant::now());
        tokio::time::sleep(pause).await;
    }
}

async fn leave(app: &App, account: Uuid, user: Uuid) -> Result<(), Error> {
    app.database
        .transaction("leave", async |tx: &mut PgConnection| {
            flow::presence::leave(tx, account, user, app.settings.grace, app.clock.now()).await
        })
        .await?;
    app.database.wake().ring(unanswered::BELL);
    Ok(())
}
