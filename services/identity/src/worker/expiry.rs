//! Ends invitations that have expired: seat and address are free, as after a withdrawal.

use std::time::Duration;

use diwan_proto::identity::v1::UserState;
use diwan_runtime::{Drain, worker::supervise};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    api::cut_access,
    effects::Effects,
    error::Error,
    store::{
        invitations,
        jobs::{Effect, Job},
        users,
    },
};

/// An invitation that has expired lets nobody in from that moment on; its seat and address follow within this time.
const EVERY: Duration = Duration::from_mins(1);
/// How many a look finds.
const AT_ONCE: i64 = 100;

/// Starts the worker.
pub fn start(drain: &Drain, effects: Effects) {
    supervise(drain, "identity expiry", move || sweep(effects.clone()));
}

async fn sweep(effects: Effects) -> Result<(), Error> {
    loop {
        let mut connection = effects.database.pool().acquire().await?;
        let expired = invitations::expired(&mut connection, effects.clock.now(), AT_ONCE).await?;
        drop(connection);
        for (account, user) in &expired {
            end(&effects, *account, *user).await?;
        }
        if expired.is_empty() {
            effects.clock.sleep(EVERY).await;
        } else {
            effects.wake();
        }
    }
}

/// Decides again under the lock on the user: he may have accepted, been invited anew, or been swept by another replica.
async fn end(effects: &Effects, account: Uuid, id: Uuid) -> Result<(), Error> {
    let now = effects.clock.now();
    effects
        .database
        .transaction("end expired invitation", async |tx: &mut PgConnection| {
            let Some(before) = users::find_for_update(tx, account, id).await? else { return Ok(()) };
            let expires_at = invitations::expires_at(tx, account, id).await?;
            if before.state != UserState::Invited || expires_at.is_none_or(|expires_at| expires_at > now) {
                return Ok(());
            }
            let user = before.uninvited().map_err(Error::Refused)?;
            cut_access(tx, &before, &user, now).await?;
            effects.leave(tx, &Job::new(account, Effect::SettleSeat { user_id: id })).await
        })
        .await
}
