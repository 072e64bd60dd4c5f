//! Who of the users is deactivated, as identity says.

use diwan_store::{Error, span};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// Takes in whether a user is deactivated, unless a newer version is known.
pub(crate) async fn set(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    deactivated: bool,
    version: i64,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into user_states as known (account_id, user_id, deactivated, version) values ($1, $2, $3, $4)
         on conflict (account_id, user_id) do update set deactivated = excluded.deactivated, version = excluded.version
         where known.version < excluded.version",
        account,
        user,
        deactivated,
        version,
    )
    .execute(tx)
    .instrument(span("set user state"))
    .await?;
    Ok(())
}

/// Whether a user is deactivated, as far as identity has told; it stays so until the transaction ends.
pub(crate) async fn is_deactivated(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let deactivated = sqlx::query_scalar!(
        "select deactivated from user_states where account_id = $1 and user_id = $2 for share",
        account,
        user,
    )
    .fetch_optional(tx)
    .instrument(span("hold user state"))
    .await?;
    Ok(deactivated == Some(true))
}
