//! Identity's events: what other services learn of accounts and users.

use diwan_feed::Change;
use diwan_proto::identity::v1::{AccountChanged, UserChanged};
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::{
    api::encode,
    domain::{Account, User},
    error::Error,
};

/// Tells of a new or changed user, in the transaction that changes him.
pub async fn user_changed(tx: &mut PgConnection, user: &User, now: Timestamp) -> Result<(), Error> {
    let changed = UserChanged { user: Some(encode::user(user)) };
    diwan_feed::append(tx, user.account_id, now, &[Change::new(user.id, user.version, &changed)]).await?;
    Ok(())
}

/// Tells of a new or changed account, in the transaction that changes it.
pub async fn account_changed(tx: &mut PgConnection, account: &Account, now: Timestamp) -> Result<(), Error> {
    let changed = AccountChanged { account: Some(encode::account(account)) };
    diwan_feed::append(tx, account.id, now, &[Change::new(account.id, account.version, &changed)]).await?;
    Ok(())
}
