//! The claim: gives conversations to agents as the routing decided, if every fact that it decided on still holds.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Tx,
    conversations::{Conversation, select},
    lost_race,
};
use crate::{Error, domain::routing::Assignment};

/// Makes the assignments, all or none, and returns the conversations after them. No interleaving gives a conversation two holders or puts
/// an agent above the limit: each row is changed only where it still is what the decision saw, under its lock, and one stale row undoes
/// the whole.
///
/// # Errors
/// A serialization failure when anything was stale: the transaction is run again and decides anew.
pub async fn claim(
    tx: &mut Tx,
    account: Uuid,
    team: Uuid,
    assignments: &[Assignment],
) -> Result<Vec<Conversation>, Error> {
    // Whoever else locks several conversations does so by id: in another order the two would wait for each other.
    let mut assignments = assignments.to_vec();
    assignments.sort_unstable_by_key(|assignment| assignment.conversation);
    let assignments = &assignments;
    if take_slots(tx, account, team, assignments).await? {
        let taken = take_conversations(tx, account, team, assignments).await?;
        if taken.len() == assignments.len() {
            return Ok(taken);
        }
    }
    Err(lost_race(tx).await)
}

/// Whether every agent had room for what he gets.
async fn take_slots(tx: &mut Tx, account: Uuid, team: Uuid, assignments: &[Assignment]) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"with decided as (
               select user_id, count(*)::integer as count, count(*) filter (where counts) as counted, max(at) as last
               from unnest($3::uuid[], $4::timestamptz[], $5::boolean[]) as d (user_id, at, counts) group by user_id),
           taken as (
               update slots s
               set open_count = s.open_count + d.count, automatic_count = s.automatic_count + d.counted,
                   last_assigned_at = d.last
               from decided d, teams t
               where s.account_id = $1 and s.team_id = $2 and s.user_id = d.user_id and s.member
                 and t.account_id = $1 and t.id = $2
                 and (t.assignment_limit = 0 or s.open_count + d.count <= t.assignment_limit)
               returning 1)
           select (select count(*) from decided) = (select count(*) from taken) as "all!""#,
        account,
        team,
        &column(assignments, |assignment| assignment.user),
        &column(assignments, |assignment| assignment.last.map(Timestamp::to_sqlx)) as _,
        &column(assignments, |assignment| assignment.counts)
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("take slots"))
    .await?;
    Ok(row.all)
}

/// Takes those conversations that still are as the decision saw them.
///
/// Each is looked up by its key and updated where it lies, whatever the planner knows of the account. Where it knows little, of a sudden backlog, it
/// would take the queue for short and compare all of it with all of the decision: so the look-up is made before anything else (materialized),
/// and what a conversation must be stands beside its place, which leaves no condition that could seem to find few conversations by itself.
async fn take_conversations(
    tx: &mut Tx,
    account: Uuid,
    team: Uuid,
    assignments: &[Assignment],
) -> Result<Vec<Conversation>, Error> {
    let taken = select!(
        "with decided as materialized (
             select d.*, place, $2::uuid as team_id, 'QUEUED' as state, null::uuid as nobody
             from unnest($3::uuid[], $4::bigint[], $5::uuid[], $6::timestamptz[]) as d (id, version, user_id, at)
             cross join lateral
                 (select ctid as place from conversations where account_id = $1 and id = d.id limit 1) as found),
         taken as (
             update conversations c
             set state = 'OPEN', holder_id = d.user_id, last_holder_id = d.user_id, assigned_at = d.at, queued_at = null,
                 version = c.version + 1
             from decided d
             where c.ctid = d.place
               and c.state = d.state and c.team_id = d.team_id and c.holder_id is not distinct from d.nobody and c.version = d.version
             returning c.*)",
        "taken c",
        "true",
        account,
        team,
        &column(assignments, |assignment| assignment.conversation),
        &column(assignments, |assignment| assignment.version),
        &column(assignments, |assignment| assignment.user),
        &column(assignments, |assignment| assignment.at.to_sqlx()) as _
    );
    Ok(taken.fetch_all(tx).instrument(diwan_store::span("claim conversations")).await?)
}

fn column<T>(assignments: &[Assignment], value: impl Fn(&Assignment) -> T) -> Vec<T> {
    assignments.iter().map(value).collect()
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
