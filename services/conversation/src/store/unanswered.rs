//! Conversations that wait for their holder's answer, and when to look at them.
//!
//! Invariant: each one that a verdict may take from its holder has a timer. A timer is set in the transaction of whatever may make it due:
//! a change of the conversation ([`arm`]), of its team's settings ([`arm_team`]), of its holder's presence ([`arm_holder`]). Two of them at
//! once do not see each other; so the latter two set timers for all that is held, and whoever looks locks the conversation first, which
//! waits for the change of it that is under way.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, jiff};
use crate::{
    Error,
    domain::state::{Availability, State},
};

/// Sets timers for those of these conversations that are held and wait for an answer, where their team wants it. The time may be too
/// early: working hours are not looked at here.
pub async fn arm(tx: &mut Tx, account: Uuid, ids: &[Uuid], now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into answer_timers as known (account_id, conversation_id, due_at)
         select c.account_id, c.id, least(
                case when t.no_answer_after_minutes > 0
                     then greatest(c.unanswered_since, c.assigned_at) + make_interval(mins => t.no_answer_after_minutes) end,
                case when p.state = 'OFFLINE' then $3::timestamptz end)
         from conversations c
         join teams t on t.account_id = c.account_id and t.id = c.team_id
         left join presence p on t.reassign_when_offline and p.account_id = c.account_id and p.user_id = c.holder_id
         where c.account_id = $1 and c.id = any($2) and c.state = 'OPEN' and c.unanswered_since is not null
           and (t.no_answer_after_minutes > 0 or p.state = 'OFFLINE')
         order by c.id
         on conflict (account_id, conversation_id) do update set due_at = least(known.due_at, excluded.due_at)",
        account,
        ids,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("set answer timers"))
    .await?;
    Ok(())
}

/// A team's settings have changed: has all that is held there looked at, if it wants that.
pub async fn arm_team(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into answer_timers as known (account_id, conversation_id, due_at)
         select c.account_id, c.id, $3
         from conversations c join teams t on t.account_id = c.account_id and t.id = c.team_id
         where c.account_id = $1 and c.team_id = $2 and c.state = 'OPEN'
           and (t.no_answer_after_minutes > 0 or t.reassign_when_offline)
         order by c.id
         on conflict (account_id, conversation_id) do update set due_at = least(known.due_at, excluded.due_at)",
        account,
        team,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("set timers of team"))
    .await?;
    Ok(())
}

/// Somebody has gone OFFLINE: has what he holds looked at, in the teams that want that.
pub async fn arm_holder(tx: &mut Tx, account: Uuid, holder: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into answer_timers as known (account_id, conversation_id, due_at)
         select c.account_id, c.id, $3
         from conversations c join teams t on t.account_id = c.account_id and t.id = c.team_id and t.reassign_when_offline
         where c.account_id = $1 and c.holder_id = $2 and c.state = 'OPEN'
         order by c.id
         on conflict (account_id, conversation_id) do update set due_at = least(known.due_at, excluded.due_at)",
        account,
        holder,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("set timers of holder"))
    .await?;
    Ok(())
}

/// What is to be looked at, the longest ago first.
pub async fn due(pool: &PgPool, now: Timestamp, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, conversation_id from answer_timers where due_at <= $1 order by due_at limit $2",
        now.to_sqlx() as _,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find due answers"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.conversation_id)).collect())
}

/// When the next one is to be looked at.
pub async fn next_due(pool: &PgPool) -> Result<Option<Timestamp>, Error> {
    let next = sqlx::query_scalar!(r#"select min(due_at) as "next: SqlTimestamp" from answer_timers"#)
        .fetch_one(pool)
        .instrument(diwan_store::span("find next answer"))
        .await?;
    Ok(jiff(next))
}

/// A conversation as it is, locked.
#[derive(Clone, Debug)]
pub struct Locked {
    pub version: i64,
    pub state: State,
    pub team: Uuid,
    pub holder: Option<Uuid>,
    pub assigned_at: Option<Timestamp>,
    pub unanswered_since: Option<Timestamp>,
    pub asked: Vec<Uuid>,
    /// Since when its holder is OFFLINE; `None`: he is not.
    pub offline_since: Option<Timestamp>,
}

/// Locks a conversation. The slot of its holder is locked by the caller, so his presence stays as it is.
pub async fn lock(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Locked>, Error> {
    let row = sqlx::query!(
        r#"select version, state, team_id, holder_id, assigned_at as "assigned_at: SqlTimestamp",
                  unanswered_since as "unanswered_since: SqlTimestamp", asked
           from conversations where account_id = $1 and id = $2 for no key update"#,
        account,
        id
    )
    .fetch_optional(&mut *tx)
    .instrument(diwan_store::span("lock conversation"))
    .await?;
    let Some(row) = row else { return Ok(None) };
    let offline_since = match row.holder_id {
        Some(holder) => offline_since(tx, account, holder).await?,
        None => None,
    };
    Ok(Some(Locked {
        version: row.version,
        state: State::of_name(&row.state).ok_or(Error::Unknown("state"))?,
        team: row.team_id,
        holder: row.holder_id,
        assigned_at: jiff(row.assigned_at),
        unanswered_since: jiff(row.unanswered_since),
        asked: row.asked,
        offline_since,
    }))
}

async fn offline_since(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<Option<Timestamp>, Error> {
    let since = sqlx::query_scalar!(
        r#"select since as "since: SqlTimestamp" from presence where account_id = $1 and user_id = $2 and state = $3"#,
        account,
        user,
        Availability::Offline.name()
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("read absence"))
    .await?;
    Ok(jiff(since))
}

/// Has it looked at again at a time, or not until it is armed again. The conversation is locked by the caller.
pub async fn set(tx: &mut Tx, account: Uuid, id: Uuid, due: Option<Timestamp>) -> Result<(), Error> {
    let query = match due {
        Some(due) => sqlx::query!(
            "update answer_timers set due_at = $3 where account_id = $1 and conversation_id = $2",
            account,
            id,
            due.to_sqlx() as _
        ),
        None => sqlx::query!("delete from answer_timers where account_id = $1 and conversation_id = $2", account, id),
    };
    query.execute(tx).instrument(diwan_store::span("set answer timer")).await?;
    Ok(())
}

/// Takes it from its holder into its team's queue, if it still has this version: since its customer waits for an answer. `asked`: who has
/// had it and did not answer.
pub async fn queue(tx: &mut Tx, account: Uuid, (id, version): (Uuid, i64), asked: Option<Uuid>) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations
         set state = 'QUEUED', holder_id = null, queued_at = unanswered_since, wait_alerted = false,
             asked = array_remove(asked, $4::uuid) || array_remove(array[$4::uuid], null), version = version + 1
         where account_id = $1 and id = $2 and version = $3 and state = 'OPEN' and unanswered_since is not null",
        account,
        id,
        version,
        asked
    )
    .execute(tx)
    .instrument(diwan_store::span("queue unanswered"))
    .await?;
    Ok(done.rows_affected() == 1)
}
