//! What team knows of the accounts.

use diwan_store::{Error, span};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// The zone of an account that identity has not told of yet.
const UNTOLD: &str = "UTC";

/// The time zone of an account.
pub(crate) async fn zone(connection: &mut PgConnection, account: Uuid) -> Result<String, Error> {
    Ok(told(connection, account).await?.unwrap_or_else(|| UNTOLD.to_owned()))
}

async fn told(connection: &mut PgConnection, account: Uuid) -> Result<Option<String>, Error> {
    sqlx::query_scalar!("select time_zone from accounts where account_id = $1", account)
        .fetch_optional(connection)
        .instrument(span("find time zone"))
        .await
        .map_err(Error::from)
}

/// Keeps the time zone of an account as it is until the end of the transaction.
pub(crate) async fn hold(tx: &mut PgConnection, account: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "insert into accounts (account_id, time_zone, version) values ($1, $2, 0) on conflict do nothing",
        account,
        UNTOLD,
    )
    .execute(&mut *tx)
    .instrument(span("make account known"))
    .await?;
    sqlx::query!("select from accounts where account_id = $1 for share", account)
        .fetch_optional(tx)
        .instrument(span("hold account"))
        .await?;
    Ok(())
}

/// Takes in the time zone of an account, unless a newer version is known. Returns whether it is another one than before; the account
/// is locked then. Nobody else changes it between the two: the events of identity are applied one after the other.
pub(crate) async fn set_zone(tx: &mut PgConnection, account: Uuid, zone: &str, version: i64) -> Result<bool, Error> {
    let before = told(tx, account).await?;
    let taken = sqlx::query!(
        "insert into accounts as known (account_id, time_zone, version) values ($1, $2, $3)
         on conflict (account_id) do update set time_zone = excluded.time_zone, version = excluded.version
         where known.version < excluded.version",
        account,
        zone,
        version,
    )
    .execute(tx)
    .instrument(span("set time zone"))
    .await?;
    Ok(taken.rows_affected() == 1 && before.as_deref() != Some(zone))
}
