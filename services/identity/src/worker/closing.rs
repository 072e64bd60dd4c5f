//! Reminds owners of the end of their accounts, brings it about when the grace period is over, and in the end has the data deleted.

use std::time::Duration;

use diwan_account_data::deletion;
use diwan_runtime::{Drain, clock::after, worker::supervise};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    api::shut,
    effects::Effects,
    error::Error,
    events,
    store::{
        accounts, closings, exports,
        jobs::{Effect, Job, Stage},
    },
};

const EVERY: Duration = Duration::from_mins(1);
/// How many a look finds.
const AT_ONCE: i64 = 100;

/// Starts the worker.
pub fn start(drain: &Drain, effects: Effects, retention: Duration) {
    supervise(drain, "identity closing", move || sweep(effects.clone(), retention));
}

async fn sweep(effects: Effects, retention: Duration) -> Result<(), Error> {
    loop {
        let now = effects.clock.now();
        let mut connection = effects.database.pool().acquire().await?;
        let reminders = closings::to_remind(&mut connection, now, AT_ONCE).await?;
        let over = closings::over(&mut connection, now, AT_ONCE).await?;
        let forgotten = closings::to_delete(&mut connection, now, AT_ONCE).await?;
        drop(connection);
        for account in &reminders {
            remind(&effects, *account).await?;
        }
        for account in &over {
            end(&effects, *account, retention).await?;
        }
        for account in &forgotten {
            delete(&effects, *account).await?;
        }
        if reminders.is_empty() && over.is_empty() && forgotten.is_empty() {
            effects.clock.sleep(EVERY).await;
        } else {
            effects.wake();
        }
    }
}

async fn remind(effects: &Effects, account: Uuid) -> Result<(), Error> {
    let now = effects.clock.now();
    let send = Job::new(account, Effect::SendClosing { stage: Stage::Soon });
    effects
        .database
        .transaction("remind of closing", async |tx: &mut PgConnection| {
            if closings::take_reminder(tx, account, now).await? { effects.leave(tx, &send).await } else { Ok(()) }
        })
        .await
}

/// Decides again under the lock on the account: its owner may have taken it back, or another replica was first. Everything that
/// identity itself has to end ends in this one transaction; seats follow by a job, the other services by the event.
async fn end(effects: &Effects, id: Uuid, retention: Duration) -> Result<(), Error> {
    let now = effects.clock.now();
    effects
        .database
        .transaction("close account", async |tx: &mut PgConnection| {
            let Some(account) = accounts::get_for_update(tx, id).await?.closed(now) else { return Ok(()) };
            closings::close(tx, &account, after(now, retention)).await?;
            exports::forget(tx, id, now).await?;
            closings::end_sessions(tx, id, None, now).await?;
            closings::expire_invitations(tx, id, now).await?;
            closings::release_addresses(tx, id).await?;
            shut(tx, &account, now).await?;
            effects.leave(tx, &Job::new(id, Effect::SendClosing { stage: Stage::Over })).await?;
            effects.leave(tx, &Job::new(id, Effect::ReleaseSeats)).await
        })
        .await
}

/// Tells every service, this one too, to delete what it keeps of an account. From here on the account is nothing but its id.
async fn delete(effects: &Effects, id: Uuid) -> Result<(), Error> {
    let now = effects.clock.now();
    effects
        .database
        .transaction("delete account", async |tx: &mut PgConnection| {
            let account = accounts::get_for_update(tx, id).await?;
            if closings::is_to_delete(tx, id, now).await? {
                deletion::note(tx, id, now).await.map_err(diwan_store::Error::from)?;
                events::account_deleted(tx, &account, now).await?;
            }
            Ok(())
        })
        .await
}
