//! Using and changing second factors. Whoever does it has locked the user, so that a sign-in comes before a change or after it.

use diwan_proto::identity::v1::RevocationSubject;
use diwan_vault::Vault;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    alerts::{self, Alert},
    domain::{Code, SecondFactors},
    error::Error,
    events, recovery,
    store::{challenges, devices, revocations, second_factors, sessions},
    totp::Secret,
};

/// How many recovery codes there are at first.
const RECOVERY_CODES: i32 = 10;

/// Whose factors they are.
#[derive(Clone, Copy, Debug)]
pub struct Whose {
    /// The account.
    pub account: Uuid,
    /// The user.
    pub user: Uuid,
}

/// Uses a code of the user's authenticator up; `false` when it is none, or was used.
pub async fn spend_totp(
    tx: &mut PgConnection,
    vault: &Vault,
    whose: Whose,
    factors: &SecondFactors,
    code: &Code,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(totp) = &factors.totp else { return Ok(false) };
    match Secret::open(vault, whose.account, whose.user, &totp.sealed)?.step_of(code, now)? {
        Some(step) => second_factors::take_step(tx, whose.account, whose.user, step).await,
        None => Ok(false),
    }
}

/// Uses a recovery code up; `false` when it is none, or was used.
pub async fn spend_recovery_code(tx: &mut PgConnection, whose: Whose, code: &Code) -> Result<bool, Error> {
    second_factors::take_recovery_code(tx, whose.account, whose.user, code).await
}

/// Writes what a user has now, and makes recovery codes if it is his first factor. His devices are no longer trusted, his open
/// challenges end, and he is told.
pub async fn change(
    tx: &mut PgConnection,
    whose: Whose,
    before: &SecondFactors,
    mut after: SecondFactors,
    now: Timestamp,
) -> Result<(SecondFactors, Vec<Code>), Error> {
    second_factors::put(tx, whose.account, whose.user, &after).await?;
    let is_first = after.any() && !before.any();
    let codes = if is_first { recovery_codes() } else { Vec::new() };
    if is_first || !after.any() {
        second_factors::put_recovery_codes(tx, whose.account, whose.user, &codes).await?;
        after.recovery_codes = if is_first { RECOVERY_CODES } else { 0 };
    }
    forget_trust(tx, whose).await?;
    tell(tx, whose, &after, now).await?;
    Ok((after, codes))
}

/// Makes new recovery codes in place of those that there are.
pub async fn renew_recovery_codes(
    tx: &mut PgConnection,
    whose: Whose,
    before: &SecondFactors,
    now: Timestamp,
) -> Result<Vec<Code>, Error> {
    let codes = recovery_codes();
    let after = SecondFactors { version: before.version + 1, recovery_codes: RECOVERY_CODES, ..before.clone() };
    second_factors::put(tx, whose.account, whose.user, &after).await?;
    second_factors::put_recovery_codes(tx, whose.account, whose.user, &codes).await?;
    forget_trust(tx, whose).await?;
    tell(tx, whose, &after, now).await?;
    Ok(codes)
}

/// Nothing that the user has given before spares him a second factor, and no sign-in under way goes on: what he proved for it
/// has changed.
pub async fn forget_trust(tx: &mut PgConnection, whose: Whose) -> Result<(), Error> {
    devices::remove_beyond(tx, whose.account, whose.user, 0).await?;
    challenges::remove_all(tx, whose.account, whose.user).await
}

/// Ends every session of a user, with its access tokens.
pub async fn end_sessions(tx: &mut PgConnection, whose: Whose, now: Timestamp) -> Result<(), Error> {
    for (session, epoch) in sessions::end_others(tx, whose.account, whose.user, Uuid::nil(), now).await? {
        revocations::insert(tx, whose.account, (RevocationSubject::Session, session), epoch, now).await?;
    }
    Ok(())
}

/// Whoever changes his factors has not lost them.
async fn tell(tx: &mut PgConnection, whose: Whose, after: &SecondFactors, now: Timestamp) -> Result<(), Error> {
    recovery::stop(tx, whose, now).await?;
    events::second_factors_changed(tx, whose, after, now).await?;
    alerts::queue(tx, whose.account, whose.user, Alert::FactorChanged, now).await
}

fn recovery_codes() -> Vec<Code> {
    (0..RECOVERY_CODES).map(|_| Code::recovery()).collect()
}
