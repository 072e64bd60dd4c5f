//! Identity's events: what other services learn of accounts and users.

use diwan_feed::{Change, Record};
use diwan_proto::identity::v1::{
    AccountChanged, AccountDeleted, DeviceChanged, FactorRecoveryChanged, FactorRecoveryState,
    SecondFactorPolicyChanged, SecondFactorsChanged, ServicePrincipal, ServicePrincipalChanged, UserChanged,
};
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    api::{device, encode, factor_recovery},
    domain::{Account, Principal, SecondFactors, User},
    error::Error,
    factors::Whose,
    store::{devices::Device, factor_recoveries::Recovery},
};

/// Tells of a new or changed user, in the transaction that changes him.
pub async fn user_changed(tx: &mut PgConnection, user: &User, now: Timestamp) -> Result<(), Error> {
    let changed = UserChanged { user: Some(encode::user(user)) };
    diwan_feed::append(tx, user.account_id, now, &[Change::new(user.id, user.version, &changed)]).await?;
    Ok(())
}

/// Tells of a new or changed service principal of an account, in the transaction that changes it.
pub async fn principal_changed(
    tx: &mut PgConnection,
    principal: &Principal,
    shown: ServicePrincipal,
    now: Timestamp,
) -> Result<(), Error> {
    let changed = ServicePrincipalChanged { principal: Some(shown) };
    let change = Change::new(principal.id, principal.version, &changed);
    diwan_feed::append(tx, principal.account, now, &[change]).await?;
    Ok(())
}

/// Tells the audit log what happened to a user's access, in the transaction where it happened.
pub async fn happened(
    tx: &mut PgConnection,
    what: &str,
    account: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<(), Error> {
    Ok(diwan_feed::record(tx, account, now, &Record::event(what, "diwan.identity.v1.User", user)).await?)
}

/// Tells of a new or changed account, in the transaction that changes it.
pub async fn account_changed(tx: &mut PgConnection, account: &Account, now: Timestamp) -> Result<(), Error> {
    let changed = AccountChanged { account: Some(encode::account(account)) };
    diwan_feed::append(tx, account.id, now, &[Change::new(account.id, account.version, &changed)]).await?;
    Ok(())
}

/// Tells every service to delete what it keeps of an account, in the transaction that decides so.
pub async fn account_deleted(tx: &mut PgConnection, account: &Account, now: Timestamp) -> Result<(), Error> {
    let deleted = AccountDeleted { account_id: account.id.to_string() };
    diwan_feed::append(tx, account.id, now, &[Change::new(account.id, account.version + 1, &deleted)]).await?;
    Ok(())
}

/// Tells of changed second factors, in the transaction that changes them.
pub async fn second_factors_changed(
    tx: &mut PgConnection,
    whose: Whose,
    factors: &SecondFactors,
    now: Timestamp,
) -> Result<(), Error> {
    let changed =
        SecondFactorsChanged { user_id: whose.user.to_string(), second_factors: Some(encode::second_factors(factors)) };
    diwan_feed::append(tx, whose.account, now, &[Change::new(whose.user, factors.version, &changed)]).await?;
    Ok(())
}

/// Tells whether an account demands second factors, in the transaction that changes it.
pub async fn second_factor_policy_changed(
    tx: &mut PgConnection,
    account: Uuid,
    demanded: bool,
    version: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let changed = SecondFactorPolicyChanged { demanded };
    diwan_feed::append(tx, account, now, &[Change::new(account, version, &changed)]).await?;
    Ok(())
}

/// Tells of a device that is trusted, or was revoked, in the transaction that does it.
pub async fn device_changed(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    device: &Device,
    revoked: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let changed = DeviceChanged { device: Some(device::shown(device)), user_id: user.to_string(), revoked };
    let version = if revoked { 2 } else { 1 };
    diwan_feed::append(tx, account, now, &[Change::new(device.id, version, &changed)]).await?;
    Ok(())
}

/// Tells how a recovery of second factors stands, in the transaction that changes it.
pub async fn factor_recovery_changed(
    tx: &mut PgConnection,
    recovery: &Recovery,
    state: FactorRecoveryState,
    now: Timestamp,
) -> Result<(), Error> {
    let changed = FactorRecoveryChanged { recovery: Some(factor_recovery::shown(recovery)), state: state.into() };
    let version = if state == FactorRecoveryState::Begun { 1 } else { 2 };
    diwan_feed::append(tx, recovery.whose.account, now, &[Change::new(recovery.id, version, &changed)]).await?;
    Ok(())
}
