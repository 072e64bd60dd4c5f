//! Extends the leases of the streams that are open here, and makes OFFLINE whoever is gone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use diwan_runtime::worker::{chain, supervise};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, app::App, flow, store::presence, worker::unanswered};

/// How often the gone are looked for, at least and at most.
const OFTEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Starts both.
pub fn start(app: &Arc<App>) {
    let extender = app.clone();
    supervise(&app.drain, "session leases", move || extend(extender.clone()));
    let sweeper = app.clone();
    supervise(&app.drain, "presence sweeper", move || sweep(sweeper.clone()));
}

async fn extend(app: Arc<App>) -> Result<(), Error> {
    loop {
        let mut open: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (account, id) in app.sessions.list() {
            open.entry(account).or_default().push(id);
        }
        for (account, sessions) in open {
            let until = presence::lease(app.clock.now(), app.settings.lease);
            let alive = presence::extend_sessions(app.database.pool(), account, &sessions, until).await?;
            sessions.iter().filter(|id| !alive.contains(id)).for_each(|id| app.sessions.end(*id));
        }
        tokio::time::sleep(app.settings.lease / 3).await;
    }
}

async fn sweep(app: Arc<App>) -> Result<(), Error> {
    let pause = (app.settings.grace / 4).clamp(OFTEN.0, OFTEN.1);
    loop {
        let gone = presence::gone(app.database.pool(), app.settings.grace, app.clock.now()).await?;
        for (account, user) in gone {
            if let Err(error) = leave(&app, account, user).await {
                tracing::warn!(error = chain(&error), "somebody who is gone could not be made OFFLINE");
            }
        }
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
