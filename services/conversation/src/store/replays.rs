//! What a replay of the routing reads: one team's history, from the last batch before the period to its end.

mod latest;
mod people;

use std::collections::BTreeSet;

use diwan_hours::{Hours, Schedule};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use prost::Message as _;
use sqlx::{PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, explanations::Kept, jiff};
use crate::{
    Error,
    domain::{
        ledger::{Entry, Kind},
        simulation::{Episode, History, Recorded, Settings, Side, Step, Urgency, episodes},
        state::{Cause, Priority, State},
    },
};

pub use self::latest::{Latest, latest};

/// The most transitions, and conversations that wait throughout, of one team and period.
const MOST: i64 = 200_000;

/// Which team of which account.
pub type Of = (Uuid, Uuid);

/// From when the history of a team has to be read, to know where it stood at `from`: the last batch saw everybody who was ACTIVE.
pub async fn anchor(tx: &mut Tx, (account, team): Of, from: Timestamp) -> Result<Timestamp, Error> {
    let batch = sqlx::query_scalar!(
        r#"select decided_at as "at: SqlTimestamp" from decisions
           where account_id = $1 and team_id = $2 and decided_at <= $3 and kind = 'BATCH' order by decided_at desc limit 1"#,
        account,
        team,
        from.to_sqlx() as _
    )
    .fetch_optional(&mut *tx)
    .instrument(diwan_store::span("find last batch"))
    .await?;
    if let Some(batch) = batch {
        return Ok(batch.to_jiff());
    }
    let seen = sqlx::query_scalar!(
        r#"select min(at) as "at: SqlTimestamp"
           from (select distinct on (user_id) at, availability from agent_history
                 where account_id = $1 and team_id = $2 and at <= $3 order by user_id, id desc) last
           where availability = 'ACTIVE'"#,
        account,
        team,
        from.to_sqlx() as _
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("find first agent"))
    .await?;
    Ok(jiff(seen).unwrap_or(from))
}

/// Since when the history of a team is written.
pub async fn begins(tx: &mut Tx, (account, team): Of) -> Result<Option<Timestamp>, Error> {
    let first = sqlx::query_scalar!(
        r#"select min(at) as "at: SqlTimestamp" from team_history where account_id = $1 and team_id = $2"#,
        account,
        team
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("find beginning of history"))
    .await?;
    Ok(jiff(first))
}

/// The active teams of an account, at most `most` of them.
pub async fn teams(tx: &mut Tx, account: Uuid, most: i64) -> Result<Vec<Uuid>, Error> {
    let teams = sqlx::query_scalar!(
        "select id from teams where account_id = $1 and receiving_id is null order by id limit $2",
        account,
        most
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("list active teams"))
    .await?;
    Ok(teams)
}

/// The time zone of the account, or as far as identity has not told it, that of its teams' hours: of the team itself first.
pub async fn zone(tx: &mut Tx, (account, team): Of) -> Result<Option<String>, Error> {
    let zone = sqlx::query_scalar!(
        "select coalesce((select time_zone from account_languages where account_id = $1),
                         (select time_zone from teams where account_id = $1 and working_hours is not null
                          order by id = $2 desc, id limit 1))",
        account,
        team
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("find time zone"))
    .await?;
    Ok(zone)
}

/// The history of a team from `period.0`, an [`anchor`], to `period.1`; `others`: who is to be a member besides.
///
/// # Errors
/// [`Error::PeriodTooLarge`].
pub async fn history(tx: &mut Tx, of: Of, period: (Timestamp, Timestamp), others: &[Uuid]) -> Result<History, Error> {
    let steps = steps(tx, of, period).await?;
    let waiting = waiting(tx, of, period).await?;
    let known = steps.iter().map(|step| step.conversation).chain(waiting.iter().map(|waits| waits.conversation));
    let known: BTreeSet<Uuid> = known.collect();
    let urgencies = urgencies(tx, of, period.0, &known.into_iter().collect::<Vec<_>>()).await?;
    let episodes = episodes(of.1, &steps, waiting, &urgencies);
    let snapshots = people::snapshots(tx, of, period, others).await?;
    Ok(History { episodes, snapshots, settings: settings(tx, of, period).await?, urgencies })
}

async fn settings(
    tx: &mut Tx,
    (account, team): Of,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Settings>, Error> {
    let rows = sqlx::query!(
        r#"select at as "at: SqlTimestamp", assignment_limit, working_hours as "schedule: Json<Schedule>", time_zone, archived
           from team_history
           where account_id = $1 and team_id = $2 and at < $4
             and id >= coalesce((select max(id) from team_history where account_id = $1 and team_id = $2 and at <= $3), 0)
           order by id"#,
        account,
        team,
        from.to_sqlx() as _,
        to.to_sqlx() as _
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read history of team"))
    .await?;
    let settings = |at: SqlTimestamp, limit: i32, schedule: Option<Json<Schedule>>, zone: &str, archived| Settings {
        at: at.to_jiff(),
        limit: (limit > 0).then_some(limit),
        hours: schedule.map(|schedule| Hours::new(schedule.0, zone)),
        archived,
    };
    let rows = rows.into_iter();
    Ok(rows.map(|row| settings(row.at, row.assignment_limit, row.schedule, &row.time_zone, row.archived)).collect())
}

async fn steps(tx: &mut Tx, (account, team): Of, (from, to): (Timestamp, Timestamp)) -> Result<Vec<Step>, Error> {
    let rows = sqlx::query!(
        r#"select t.conversation_id, t.at as "at: SqlTimestamp", t.cause, t.decision_id, t.from_state, t.from_holder_id,
                  coalesce(t.from_team_id, t.team_id) as "from_team!", t.to_state, t.to_holder_id, t.team_id, c.priority,
                  case when t.first and t.from_state = 'QUEUED'
                       then (select max(p.at) from transitions p
                             where p.account_id = $1 and p.conversation_id = t.conversation_id and p.version < t.version
                               and p.to_state = 'QUEUED' and p.from_state is distinct from 'QUEUED')
                  end as "since: SqlTimestamp"
           from (select *, row_number() over (partition by conversation_id order by version) = 1 as first from transitions
                 where account_id = $1 and at >= $3 and at < $4 and (team_id = $2 or from_team_id = $2)) t
           join conversations c on c.account_id = $1 and c.id = t.conversation_id
           order by t.conversation_id, t.version limit $5"#,
        account,
        team,
        from.to_sqlx() as _,
        to.to_sqlx() as _,
        MOST + 1
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read transitions of team"))
    .await?;
    within(rows.len())?;
    rows.into_iter()
        .map(|row| {
            let from = row.from_state.as_deref().map(state).transpose()?;
            let (to, holder) = (state(&row.to_state)?, row.from_holder_id);
            Ok(Step {
                conversation: row.conversation_id,
                at: row.at.to_jiff(),
                cause: Cause::of_name(&row.cause).ok_or(Error::Unknown("cause"))?,
                decision: row.decision_id,
                from: from.map(|state| Side { state, team: row.from_team, holder }),
                to: Side { state: to, team: row.team_id, holder: row.to_holder_id },
                queued_since: jiff(row.since),
                priority: priority(row.priority)?,
            })
        })
        .collect()
}

/// What waited in the queue throughout, and so has no transition: it waits still, or left the queue later.
async fn waiting(tx: &mut Tx, (account, team): Of, (from, to): (Timestamp, Timestamp)) -> Result<Vec<Episode>, Error> {
    let rows = sqlx::query!(
        r#"select w.id as "id!", c.priority,
                  (select max(p.at) from transitions p
                   where p.account_id = $1 and p.conversation_id = w.id and p.at < $3
                     and p.to_state = 'QUEUED' and p.from_state is distinct from 'QUEUED') as "since: SqlTimestamp"
           from (select id from conversations
                 where account_id = $1 and team_id = $2 and state = 'QUEUED' and queued_at < $3
                   and not exists (select from transitions p where p.account_id = $1 and p.conversation_id = id and p.at >= $3)
                 union
                 select t.conversation_id from transitions t
                 where t.account_id = $1 and t.at >= $4 and (t.team_id = $2 or t.from_team_id = $2) and t.from_state = 'QUEUED'
                   and coalesce(t.from_team_id, t.team_id) = $2
                   and not exists (select from transitions p
                                   where p.account_id = $1 and p.conversation_id = t.conversation_id and p.version < t.version
                                     and p.at >= $3)) w
           join conversations c on c.account_id = $1 and c.id = w.id
           limit $5"#,
        account,
        team,
        from.to_sqlx() as _,
        to.to_sqlx() as _,
        MOST + 1
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read what waited throughout"))
    .await?;
    within(rows.len())?;
    rows.into_iter()
        .map(|row| {
            let since = jiff(row.since).unwrap_or(from);
            Ok(Episode {
                conversation: row.id,
                enters: since,
                since,
                priority: priority(row.priority)?,
                offer: None,
                unanswered: false,
                recorded: Recorded::Waits,
                until: None,
            })
        })
        .collect()
}

/// Changes of the priorities of these conversations since `from`, in whatever team: also later ones, which tell what the priority was
/// until then.
async fn urgencies(
    tx: &mut Tx,
    (account, _): Of,
    from: Timestamp,
    conversations: &[Uuid],
) -> Result<Vec<Urgency>, Error> {
    let rows = sqlx::query!(
        r#"select conversation_id, at as "at: SqlTimestamp", from_priority, to_priority from priority_history
           where account_id = $1 and conversation_id = any($2) and at >= $3 order by id limit $4"#,
        account,
        conversations,
        from.to_sqlx() as _,
        MOST + 1
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read history of priorities"))
    .await?;
    within(rows.len())?;
    rows.into_iter()
        .map(|row| {
            let (from, to) = (priority(row.from_priority)?, priority(row.to_priority)?);
            Ok(Urgency { at: row.at.to_jiff(), conversation: row.conversation_id, from, to })
        })
        .collect()
}

/// The next decisions of a team after the one named, in their order; the first ones from `from` on.
pub async fn decisions(
    pool: &PgPool,
    (account, team): Of,
    (from, to): (Timestamp, Timestamp),
    last: Option<(Timestamp, Uuid)>,
    most: i64,
) -> Result<Vec<Kept>, Error> {
    let (at, id) = last.unwrap_or((from, Uuid::nil()));
    let rows = sqlx::query!(
        r#"select id, team_version, decided_at as "at: SqlTimestamp", kind, ledger from decisions
           where account_id = $1 and team_id = $2 and decided_at >= $3 and decided_at < $4 and (decided_at, id) > ($3, $5)
           order by decided_at, id limit $6"#,
        account,
        team,
        at.to_sqlx() as _,
        to.to_sqlx() as _,
        id,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("read decisions of team"))
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = Kind::of_name(&row.kind).ok_or(Error::Unknown("kind of decision"))?;
            let entry = Entry::decode(row.ledger.as_slice())?;
            let (id, team_version, at) = (row.id, row.team_version, row.at.to_jiff());
            Ok(Kept { id, team, team_version, at, kind, entry })
        })
        .collect()
}

fn within(count: usize) -> Result<(), Error> {
    if i64::try_from(count).is_ok_and(|count| count <= MOST) { Ok(()) } else { Err(Error::PeriodTooLarge) }
}

fn state(name: &str) -> Result<State, Error> {
    State::of_name(name).ok_or(Error::Unknown("state"))
}

fn priority(level: i16) -> Result<Priority, Error> {
    Priority::of_level(level).ok_or(Error::Unknown("priority"))
}
