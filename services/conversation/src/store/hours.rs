//! When the teams work.

use diwan_hours::{Hours, Schedule};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, jiff};
use crate::Error;

/// Sets the hours of a team that the caller has locked; `None`: it is always open.
pub async fn set(
    tx: &mut Tx,
    account: Uuid,
    team: Uuid,
    hours: Option<(&Schedule, &str)>,
    now: Timestamp,
) -> Result<(), Error> {
    let opening = hours.map(|(schedule, zone)| Hours::new(schedule.clone(), zone));
    let (open, changes_at) = opening.map_or((true, None), |hours| (hours.is_open(now), hours.next_change(now)));
    sqlx::query!(
        "update teams set working_hours = $3, time_zone = $4, open = $5, changes_at = $6 where account_id = $1 and id = $2",
        account,
        team,
        hours.map(|(schedule, _)| Json(schedule)) as _,
        hours.map_or("UTC", |(_, zone)| zone),
        open,
        changes_at.map(ToSqlx::to_sqlx) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("set hours"))
    .await?;
    Ok(())
}

/// The hours of a team and the name of its time zone. `None`: nobody has set any, so it is always open.
pub async fn find(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<(Hours, String)>, Error> {
    let row = sqlx::query!(
        r#"select working_hours as "schedule!: Json<Schedule>", time_zone from teams
           where account_id = $1 and id = $2 and working_hours is not null"#,
        account,
        team
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("read hours"))
    .await?;
    Ok(row.map(|row| (Hours::new(row.schedule.0, &row.time_zone), row.time_zone)))
}

/// Whether a team is open: what nobody has said otherwise of is.
pub async fn is_open(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<bool, Error> {
    Ok(find(tx, account, team).await?.is_none_or(|(hours, _)| hours.is_open(now)))
}

/// Teams whose shift has begun or ended since they were looked at, the longest ago first.
pub async fn due(pool: &PgPool, now: Timestamp, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, id from teams where changes_at <= $1 order by changes_at limit $2",
        now.to_sqlx() as _,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find begun and ended shifts"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// When the next shift of any team begins or ends.
pub async fn next_change(pool: &PgPool) -> Result<Option<Timestamp>, Error> {
    let next = sqlx::query_scalar!(r#"select min(changes_at) as "next: SqlTimestamp" from teams"#)
        .fetch_one(pool)
        .instrument(diwan_store::span("find next shift"))
        .await?;
    Ok(jiff(next))
}

/// Looks at the hours of a team that is due. Returns whether it is open now.
pub async fn turn(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"select working_hours as "schedule!: Json<Schedule>", time_zone from teams
           where account_id = $1 and id = $2 and working_hours is not null and changes_at <= $3
           for no key update"#,
        account,
        team,
        now.to_sqlx() as _
    )
    .fetch_optional(&mut *tx)
    .instrument(diwan_store::span("lock begun or ended shift"))
    .await?;
    // Another replica has looked at it meanwhile, or the hours were changed.
    let Some(row) = row else { return Ok(false) };
    set(tx, account, team, Some((&row.schedule.0, &row.time_zone)), now).await?;
    Ok(Hours::new(row.schedule.0, &row.time_zone).is_open(now))
}
