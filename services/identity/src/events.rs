//! Identity's events: what other services learn of users.

use diwan_feed::Change;
use diwan_proto::identity::v1::UserChanged;
use jiff::Timestamp;
use sqlx::PgConnection;

use crate::{api::encode, domain::User, error::Error};

/// Tells of a new or changed user, in the transaction that changes him.
pub async fn user_changed(tx: &mut PgConnection, user: &User, now: Timestamp) -> Result<(), Error> {
    let changed = UserChanged { user: Some(encode::user(user)) };
    diwan_feed::append(tx, user.account_id, now, &[Change::new(user.id, user.version, &changed)]).await?;
    Ok(())
}
