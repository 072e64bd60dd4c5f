//! The queues. Their order is said here and in [`Waiting::place`], which a test holds together: the higher priority first, then what
//! waits longest.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{
    Error,
    domain::{routing::Waiting, state::Priority},
};

/// Reads the first conversations in a team's queue, after `$with`, and `$more` about each.
macro_rules! waiting {
    ($with:tt, $more:tt, $tx:ident, $($argument:expr),*) => {
        sqlx::query!(
            $with + r#"select id, version, priority, asked, queued_at as "queued_at!: SqlTimestamp""# + $more + "
               from conversations
               where account_id = $1 and team_id = $2 and state = 'QUEUED'
               order by priority desc, queued_at, id limit $3",
            $($argument),*
        )
        .fetch_all($tx)
        .instrument(diwan_store::span("read queue"))
        .await?
        .into_iter()
        .map(|row| {
            Ok(Waiting {
                conversation: row.id,
                version: row.version,
                priority: Priority::of_level(row.priority).ok_or(Error::Unknown("priority"))?,
                queued_at: row.queued_at.to_jiff(),
                asked: row.asked,
            })
        })
        .collect()
    };
}

/// The first conversations in a team's queue.
pub async fn waiting(tx: &mut Tx, account: Uuid, team: Uuid, most: i64) -> Result<Vec<Waiting>, Error> {
    waiting!("", "", tx, account, team, most)
}

/// As [`waiting`]; where there is something, the slots of those members of the team are locked who are there.
pub async fn waiting_for_candidates(tx: &mut Tx, account: Uuid, team: Uuid, most: i64) -> Result<Vec<Waiting>, Error> {
    waiting!(
        "with candidates as materialized (
             select user_id from slots s
             where account_id = $1 and team_id = $2 and member
               and exists (select from presence p
                           where p.account_id = $1 and p.user_id = s.user_id and p.state = 'ACTIVE')
             order by user_id for no key update)
         ",
        ", (select count(*) from candidates) as candidates",
        tx,
        account,
        team,
        most
    )
}

/// How many are given out before this one of a team's queue.
pub async fn ahead(executor: impl PgExecutor<'_>, account: Uuid, team: Uuid, of: &Waiting) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from conversations
           where account_id = $1 and team_id = $2 and state = 'QUEUED'
             and (priority > $3 or (priority = $3 and (queued_at, id) < ($4, $5)))"#,
        account,
        team,
        of.priority.level(),
        of.queued_at.to_sqlx() as _,
        of.conversation
    )
    .fetch_one(executor)
    .instrument(diwan_store::span("count queue ahead"))
    .await?;
    Ok(count)
}

/// How many conversations left a team's queue to an agent since a time, automatically or by hand. One that goes to whom its customer had
/// last never waited there.
pub async fn given_out(pool: &PgPool, account: Uuid, team: Uuid, since: Timestamp) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(distinct conversation_id) as "count!" from transitions
           where account_id = $1 and team_id = $2 and from_state = 'QUEUED' and to_state = 'OPEN' and at >= $3
             and cause <> 'STICKY_OWNER'"#,
        account,
        team,
        since.to_sqlx() as _
    )
    .fetch_one(pool)
    .instrument(diwan_store::span("count given out"))
    .await?;
    Ok(count)
}

/// Teams, open now (as they were last looked at, or the other way round where that has changed since), in whose queue something waits that long and has made no alert yet: at most `most` of them.
pub async fn with_long_waits(pool: &PgPool, now: Timestamp, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, id from teams t
         where wait_alert_seconds > 0 and open = (changes_at is null or changes_at > $1)
           and exists (select from conversations c
                       where c.account_id = t.account_id and c.team_id = t.id and c.state = 'QUEUED' and not c.wait_alerted
                         and c.queued_at <= $1 - make_interval(secs => t.wait_alert_seconds))
         limit $2",
        now.to_sqlx() as _,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find long waits"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// Marks what waits too long in a team's queue, the longest first and at most `most`, and returns it with the team's setting. What
/// somebody else has locked is about to leave the queue, or is marked by him.
pub async fn mark_long_waits(
    tx: &mut Tx,
    account: Uuid,
    team: Uuid,
    now: Timestamp,
    most: i64,
) -> Result<Vec<(Uuid, i32)>, Error> {
    let rows = sqlx::query!(
        r#"with long as (
               select c.id, t.wait_alert_seconds as seconds
               from conversations c join teams t on t.account_id = c.account_id and t.id = c.team_id
               where c.account_id = $1 and c.team_id = $2 and c.state = 'QUEUED' and not c.wait_alerted
                 and t.wait_alert_seconds > 0 and c.queued_at <= $3::timestamptz - make_interval(secs => t.wait_alert_seconds)
               order by c.queued_at limit $4 for no key update of c skip locked)
           update conversations c set wait_alerted = true from long
           where c.account_id = $1 and c.id = long.id
           returning c.id, long.seconds"#,
        account,
        team,
        now.to_sqlx() as _,
        most
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("mark long waits"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.seconds)).collect())
}
