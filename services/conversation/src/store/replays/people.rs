//! The people of a team in its history.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{MOST, Of, within};
use crate::{
    Error,
    domain::{routing::Agent, simulation::Snapshot, state::Availability},
    store::{Tx, jiff},
};

/// A row of `agent_history`.
struct Row {
    user_id: Uuid,
    at: SqlTimestamp,
    member: bool,
    enabled: bool,
    availability: String,
    open_count: i32,
    automatic_count: i64,
    last: Option<SqlTimestamp>,
    restart: bool,
}

impl Row {
    fn snapshot(self) -> Result<Snapshot, Error> {
        let availability = Availability::of_name(&self.availability).ok_or(Error::Unknown("availability"))?;
        let (open, automatic, last) = (self.open_count, self.automatic_count, jiff(self.last));
        let agent = Agent { user: self.user_id, enabled: self.enabled, availability, open, automatic, last };
        Ok(Snapshot { at: self.at.to_jiff(), agent, member: self.member, restart: self.restart })
    }
}

/// Who was or had been a member of a team, after each change of him; and the `others`, who are to be members besides. By time.
pub async fn snapshots(
    tx: &mut Tx,
    of: Of,
    period: (Timestamp, Timestamp),
    others: &[Uuid],
) -> Result<Vec<Snapshot>, Error> {
    let mut rows = members(tx, of, period).await?;
    rows.extend(strangers(tx, of, period, others).await?);
    let mut all: Vec<Snapshot> = rows.into_iter().map(Row::snapshot).collect::<Result<_, _>>()?;
    all.sort_by_key(|snapshot| snapshot.at);
    Ok(all)
}

async fn members(tx: &mut Tx, (account, team): Of, (from, to): (Timestamp, Timestamp)) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select user_id, at as "at: SqlTimestamp", member, enabled, availability, open_count, automatic_count,
                  last_assigned_at as "last: SqlTimestamp", restart
           from agent_history h
           where account_id = $1 and team_id = $2 and at < $4
             and (at > $3 or id = (select max(id) from agent_history l
                                   where l.account_id = $1 and l.team_id = $2 and l.user_id = h.user_id and l.at <= $3))
           order by id limit $5"#,
        account,
        team,
        from.to_sqlx() as _,
        to.to_sqlx() as _,
        MOST + 1
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read history of agents"))
    .await?;
    within(rows.len()).map(|()| rows)
}

/// When those were there of whom the team's own history says nothing, by that of their other teams.
async fn strangers(
    tx: &mut Tx,
    (account, team): Of,
    (from, to): (Timestamp, Timestamp),
    users: &[Uuid],
) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select distinct on (user_id, at) user_id, at as "at: SqlTimestamp", false as "member!", enabled, availability,
                  0 as "open_count!", 0::bigint as "automatic_count!", null::timestamptz as "last: SqlTimestamp",
                  false as "restart!"
           from agent_history h
           where account_id = $1 and user_id = any($5) and at < $4
             and not exists (select from agent_history o where o.account_id = $1 and o.team_id = $2 and o.user_id = h.user_id)
             and (at > $3 or id = (select max(id) from agent_history l
                                   where l.account_id = $1 and l.team_id = h.team_id and l.user_id = h.user_id and l.at <= $3))
           order by user_id, at, id desc limit $6"#,
        account,
        team,
        from.to_sqlx() as _,
        to.to_sqlx() as _,
        users,
        MOST + 1
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read history of others"))
    .await?;
    within(rows.len()).map(|()| rows)
}
