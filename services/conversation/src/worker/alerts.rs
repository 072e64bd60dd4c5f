//! Looks for conversations that wait too long.

use std::{convert::Infallible, sync::Arc};

use diwan_runtime::worker::{chain, supervise};
use sqlx::PgConnection;

use crate::{Error, app::App, flow::long_waits, store::queue};

/// The most teams of one look; the next one finds the rest.
const MOST: i64 = 500;

/// Starts it. Every replica looks, and the mark of a conversation makes its alert one.
pub fn start(app: &Arc<App>) {
    let looking = app.clone();
    supervise(&app.drain, "long waits", move || look(looking.clone()));
}

async fn look(app: Arc<App>) -> Result<(), Infallible> {
    loop {
        if let Err(error) = alert(&app).await {
            tracing::warn!(error = chain(&error), "long waits could not be looked for");
        }
        tokio::time::sleep(app.settings.sweep).await;
    }
}

async fn alert(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    for (account, team) in queue::with_long_waits(app.database.pool(), now, MOST).await? {
        let alert = async |tx: &mut PgConnection| long_waits::alert(tx, account, team, now).await;
        app.database.transaction("alert long waits", alert).await?;
    }
    Ok(())
}
