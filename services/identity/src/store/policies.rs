//! Which accounts demand a second factor from everyone.

use diwan_store::span;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Error;

/// Whether an account demands one.
pub async fn demands(tx: &mut PgConnection, account: Uuid) -> Result<bool, Error> {
    let demanded = sqlx::query_scalar!("select demanded from second_factor_policies where account_id = $1", account)
        .fetch_optional(tx)
        .instrument(span("find second factor policy"))
        .await?;
    Ok(demanded.unwrap_or_default())
}

/// The same, which stays so until the transaction ends. To be taken before the lock of a user.
pub async fn lock(tx: &mut PgConnection, account: Uuid) -> Result<bool, Error> {
    // The update changes nothing but takes the lock, also where there was no row.
    let demanded = sqlx::query_scalar!(
        "insert into second_factor_policies (account_id) values ($1)
         on conflict (account_id) do update set demanded = second_factor_policies.demanded returning demanded",
        account,
    )
    .fetch_one(tx)
    .instrument(span("lock second factor policy"))
    .await?;
    Ok(demanded)
}

/// Writes the policy of an account, which is locked. Returns its version.
pub async fn set(tx: &mut PgConnection, account: Uuid, demanded: bool) -> Result<i64, Error> {
    let version = sqlx::query_scalar!(
        "update second_factor_policies set demanded = $2, version = version + 1 where account_id = $1 returning version",
        account,
        demanded,
    )
    .fetch_one(tx)
    .instrument(span("set second factor policy"))
    .await?;
    Ok(version)
}
