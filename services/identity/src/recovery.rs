//! The way back for somebody who has lost his second factors: an operator begins it, the person is told, and after a delay his factors go.
//!
//! It ends before its time when he shows that he has not lost them. Everything that shows it ends it in its own transaction, so a factor
//! that was used or changed before the delay is over is never taken away; see [`stop`].

use diwan_proto::identity::v1::{FactorRecoveryState, UserState};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    alerts::{self, Alert, Way},
    effects::Effects,
    error::Error,
    events,
    factors::{self, Whose},
    store::{
        factor_recoveries::{self, Recovery},
        jobs::{self, Effect, Job},
        numbers, second_factors, users,
    },
};

/// Begins a recovery, in a transaction that has locked its user, and tells him.
pub async fn begin(tx: &mut PgConnection, recovery: &Recovery, now: Timestamp) -> Result<(), Error> {
    let Whose { account, user } = recovery.whose;
    factor_recoveries::insert(tx, recovery).await?;
    let end = Job::new(account, Effect::RecoverFactors { user_id: user, recovery_id: recovery.id });
    jobs::insert(tx, &end, recovery.due_at, now).await?;
    events::factor_recovery_changed(tx, recovery, FactorRecoveryState::Begun, now).await?;
    tell_both_ways(tx, recovery.whose, Alert::FactorRecoveryBegun { due: recovery.due_at }, now).await
}

/// Ends the recovery of a user that goes on, if one does, and nothing else happens.
pub async fn stop(tx: &mut PgConnection, whose: Whose, now: Timestamp) -> Result<bool, Error> {
    let Some(recovery) = factor_recoveries::take(tx, whose).await? else { return Ok(false) };
    events::factor_recovery_changed(tx, &recovery, FactorRecoveryState::Stopped, now).await?;
    Ok(true)
}

impl Effects {
    /// Takes the factors of a user away whose recovery is due; one that has ended meanwhile is left alone.
    ///
    /// Whoever uses or changes a factor holds the user's lock, so he comes before this and has ended the recovery, or after it and
    /// finds no factor.
    pub(crate) async fn recover_factors(&self, account: Uuid, user: Uuid, recovery: Uuid) -> Result<(), Error> {
        let (whose, now) = (Whose { account, user }, self.clock.now());
        let done = self.database.transaction("recover factors", async |tx: &mut PgConnection| {
            let user = users::find_for_update(tx, account, user).await?;
            let found = factor_recoveries::find(tx, whose).await?;
            if found.is_none_or(|found| found.id != recovery) {
                return Ok(());
            }
            if user.is_none_or(|user| user.state != UserState::Active) {
                return stop(tx, whose, now).await.map(drop);
            }
            let Some(recovery) = factor_recoveries::take(tx, whose).await? else { return Ok(()) };
            events::factor_recovery_changed(tx, &recovery, FactorRecoveryState::Done, now).await?;
            let before = second_factors::find(tx, account, whose.user).await?;
            factors::change(tx, whose, &before, before.without_all(), now).await?;
            factors::end_sessions(tx, whose, now).await?;
            // The change itself is told to the number, which may be what was lost.
            if numbers::confirmed(tx, account, whose.user).await?.is_some() {
                alerts::queue_by(tx, account, whose.user, Alert::FactorChanged, Way::Mail, now).await?;
            }
            Ok::<_, Error>(())
        });
        done.await?;
        self.wake();
        Ok(())
    }
}

/// By e-mail and to the number: either may be in other hands.
async fn tell_both_ways(tx: &mut PgConnection, whose: Whose, alert: Alert, now: Timestamp) -> Result<(), Error> {
    let Whose { account, user } = whose;
    if numbers::confirmed(tx, account, user).await?.is_some() {
        alerts::queue_by(tx, account, user, alert.clone(), Way::Number, now).await?;
    }
    alerts::queue_by(tx, account, user, alert, Way::Mail, now).await
}
