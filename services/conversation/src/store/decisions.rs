//! The ledger of routing decisions.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, teams::Team};
use crate::{Error, domain::routing::Decision};

/// Keeps a decision.
pub async fn insert(
    tx: &mut Tx,
    account: Uuid,
    (id, team_id, team): (Uuid, Uuid, Team),
    decision: &Decision,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into decisions (account_id, id, team_id, team_version, decided_at, ledger) values ($1, $2, $3, $4, $5, $6)",
        account,
        id,
        team_id,
        team.version,
        now.to_sqlx() as _,
        Json(decision) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert decision"))
    .await?;
    Ok(())
}
