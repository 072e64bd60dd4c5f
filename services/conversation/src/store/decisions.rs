//! The ledger of routing decisions.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::Message as _;
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, teams::Team};
use crate::{
    Error,
    domain::{
        give_back::Return,
        ledger::{Entry, Kind},
        routing::{Agent, Decision, Waiting},
    },
};

/// What is kept of a decision.
#[derive(Clone, Copy, Debug)]
pub enum Ledger<'a> {
    /// Who of a team gets which of what waits, and from what that was decided.
    Batch(&'a Decision, &'a [Agent], &'a [Waiting]),
    /// Whether a conversation goes back to an agent.
    Return(&'a Return),
}

impl Ledger<'_> {
    fn entry(&self, now: Timestamp) -> (Kind, Entry) {
        match self {
            Self::Batch(decision, agents, waiting) => (Kind::Batch, Entry::of_batch(decision, agents, waiting, now)),
            Self::Return(decision) => (Kind::Return, Entry::of_return(decision, now)),
        }
    }

    fn refusal(&self) -> Option<String> {
        let Self::Return(decision) = self else { return None };
        serde_json::to_value(decision.passed_over).ok()?.as_str().map(ToOwned::to_owned)
    }
}

/// Keeps a decision.
pub async fn insert(
    tx: &mut Tx,
    account: Uuid,
    (id, team_id, team): (Uuid, Uuid, Team),
    ledger: Ledger<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let (kind, entry) = ledger.entry(now);
    // Every test that routes anything proves by this that what is kept is enough.
    debug_assert!(entry.is_reproduced(kind, now), "{entry:?} is decided otherwise when it is decided anew");
    sqlx::query!(
        "insert into decisions (account_id, id, team_id, team_version, decided_at, kind, ledger, refusal)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        account,
        id,
        team_id,
        team.version,
        now.to_sqlx() as _,
        kind.name(),
        entry.encode_to_vec(),
        ledger.refusal()
    )
    .execute(tx)
    .instrument(diwan_store::span("insert decision"))
    .await?;
    Ok(())
}

/// Forgets decisions from before `oldest`, at most `most`. Returns how many.
pub async fn purge(pool: &PgPool, oldest: Timestamp, most: i64) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from decisions where (account_id, id) in
             (select account_id, id from decisions where decided_at < $1 order by decided_at limit $2 for update skip locked)",
        oldest.to_sqlx() as _,
        most
    )
    .execute(pool)
    .instrument(diwan_store::span("purge decisions"))
    .await?;
    Ok(purged.rows_affected())
}
