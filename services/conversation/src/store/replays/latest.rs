//! Which of a period's last decisions a snapshot holds.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Kept, Of, Tx};
use crate::Error;

/// The longest that a decision is on its way to its commit.
const LONGEST: SignedDuration = SignedDuration::from_mins(1);

/// Those that were committed when the snapshot was taken: what led to any other one is not in it either.
#[derive(Debug)]
pub struct Latest {
    since: Timestamp,
    committed: BTreeSet<Uuid>,
}

impl Latest {
    /// Whether the snapshot holds a decision of the period.
    pub fn has(&self, kept: &Kept) -> bool {
        kept.at < self.since || self.committed.contains(&kept.id)
    }
}

/// Those of a period that ends at `to`.
pub async fn latest(tx: &mut Tx, (account, team): Of, to: Timestamp) -> Result<Latest, Error> {
    let since = to.checked_sub(LONGEST).unwrap_or(Timestamp::MIN);
    let committed = sqlx::query_scalar!(
        "select id from decisions where account_id = $1 and team_id = $2 and decided_at >= $3 and decided_at < $4",
        account,
        team,
        since.to_sqlx() as _,
        to.to_sqlx() as _
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("find last decisions"))
    .await?;
    Ok(Latest { since, committed: committed.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use diwan_runtime::ids;
    use diwan_testkit::TestDatabase;

    use super::*;
    use crate::domain::ledger::{Entry, Kind};

    #[tokio::test]
    async fn a_decision_that_was_on_its_way_when_the_snapshot_was_taken_is_none_of_it() {
        let database = TestDatabase::new(&crate::MIGRATOR).await;
        let [account, team, first, late] = std::array::from_fn(|_| ids::new_id());
        let now: Timestamp = "2026-11-23T09:00Z".parse().unwrap();
        let at = now - SignedDuration::from_secs(2);
        let insert = "insert into decisions (account_id, id, team_id, team_version, decided_at, kind, ledger)
                      values ($1, $2, $3, 1, $4, 'BATCH', '')";
        let decide = |id: Uuid| sqlx::query(insert).bind(account).bind(id).bind(team).bind(at.to_sqlx());
        decide(first).execute(&database.pool).await.unwrap();
        let mut open = database.pool.begin().await.unwrap();
        decide(late).execute(&mut *open).await.unwrap();
        let mut snapshot = database.pool.begin().await.unwrap();
        let latest = latest(&mut snapshot, (account, team), now).await.unwrap();
        open.commit().await.unwrap();
        let kept = |id, at| Kept { id, team, team_version: 1, at, kind: Kind::Batch, entry: Entry::default() };
        assert!(latest.has(&kept(first, at)));
        assert!(!latest.has(&kept(late, at)));
        assert!(latest.has(&kept(ids::new_id(), now - SignedDuration::from_hours(1))), "long ago all are there");
    }
}
