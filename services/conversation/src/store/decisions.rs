//! The ledger of routing decisions.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, teams::Team};
use crate::{
    Error,
    domain::{give_back::Return, routing::Decision},
};

/// What is kept of a decision.
#[derive(Clone, Copy, Debug)]
pub enum Ledger<'a> {
    /// Who of a team gets which of what waits.
    Batch(&'a Decision),
    /// Whether a conversation goes back to an agent.
    Return(&'a Return),
}

/// Keeps a decision.
pub async fn insert(
    tx: &mut Tx,
    account: Uuid,
    (id, team_id, team): (Uuid, Uuid, Team),
    ledger: Ledger<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let (kind, ledger) = match ledger {
        Ledger::Batch(decision) => ("BATCH", serde_json::to_value(decision)),
        Ledger::Return(decision) => ("RETURN", serde_json::to_value(decision)),
    };
    let ledger = ledger.map_err(|_| Error::Unknown("decision"))?;
    sqlx::query!(
        "insert into decisions (account_id, id, team_id, team_version, decided_at, kind, ledger)
         values ($1, $2, $3, $4, $5, $6, $7)",
        account,
        id,
        team_id,
        team.version,
        now.to_sqlx() as _,
        kind,
        ledger
    )
    .execute(tx)
    .instrument(diwan_store::span("insert decision"))
    .await?;
    Ok(())
}
