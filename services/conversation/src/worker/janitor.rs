//! Forgets what was decided long ago, and who signed out a while ago.

use std::{sync::Arc, time::Duration};

use diwan_runtime::worker::supervise;

use crate::{
    Error,
    app::App,
    store::{decisions, history, presence},
};

/// How many one statement deletes, so that none holds its locks for long.
const CHUNK: i64 = 1000;
/// For how long it is known that a sign-in has ended: no access token lives that long.
const ENDED: Duration = Duration::from_mins(10);
/// How often it looks.
const PAUSE: Duration = Duration::from_mins(10);

/// Starts it. Every replica looks; what one deletes the others pass over.
pub fn start(app: &Arc<App>) {
    let janitor = app.clone();
    supervise(&app.drain, "janitor", move || run(janitor.clone()));
}

async fn run(app: Arc<App>) -> Result<(), Error> {
    loop {
        let oldest = presence::before(app.clock.now(), app.settings.ledger_kept);
        while decisions::purge(app.database.pool(), oldest, CHUNK).await? > 0 {}
        while history::purge(app.database.pool(), oldest, CHUNK).await? > 0 {}
        presence::purge_ended(app.database.pool(), presence::before(app.clock.now(), ENDED)).await?;
        app.clock.sleep(PAUSE).await;
    }
}
