//! Whom an alert about an account concerns.

use diwan_store::span;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Error;

/// The active owner and admins of an account.
pub async fn administrators(tx: &mut PgConnection, account: Uuid) -> Result<Vec<Uuid>, Error> {
    let found = sqlx::query_scalar!(
        "select id from users
         where account_id = $1 and state = 'USER_STATE_ACTIVE' and role in ('ROLE_OWNER', 'ROLE_ADMIN') order by id",
        account,
    );
    Ok(found.fetch_all(tx).instrument(span("find administrators")).await?)
}

/// The active users of an account who may manage its subscription: the owner, and who holds the grant.
pub async fn payers(tx: &mut PgConnection, account: Uuid) -> Result<Vec<Uuid>, Error> {
    let found = sqlx::query_scalar!(
        "select id from users
         where account_id = $1 and state = 'USER_STATE_ACTIVE'
               and (role = 'ROLE_OWNER' or 'GRANT_SUBSCRIPTION_MANAGEMENT' = any (grants)) order by id",
        account,
    );
    Ok(found.fetch_all(tx).instrument(span("find payers")).await?)
}
