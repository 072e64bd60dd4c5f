//! The service principals that a bot may be.

use sqlx::PgExecutor;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// Notes that there is one.
pub async fn note(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<(), Error> {
    sqlx::query!("insert into principals (account_id, id) values ($1, $2) on conflict do nothing", account, id)
        .execute(tx)
        .instrument(diwan_store::span("note principal"))
        .await?;
    Ok(())
}

/// Whether there is one.
pub async fn is_known(executor: impl PgExecutor<'_>, account: Uuid, id: Uuid) -> Result<bool, Error> {
    let known = sqlx::query!("select from principals where account_id = $1 and id = $2", account, id)
        .fetch_optional(executor)
        .instrument(diwan_store::span("look for principal"))
        .await?;
    Ok(known.is_some())
}
