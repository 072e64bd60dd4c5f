//! How a team stands: who is there and what he holds, and what waits.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::jiff;
use crate::{
    Error,
    domain::state::{Availability, Priority},
};

/// A team as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    team: Uuid,
    limit: i32,
    /// Its members, and whoever else holds OPEN conversations of it.
    agents: Vec<Agent>,
    queues: Vec<Queue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Agent {
    user: Uuid,
    state: Availability,
    since: Option<Timestamp>,
    open: i32,
    lead: bool,
}

/// What waits with one priority.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Queue {
    priority: Priority,
    waiting: i32,
    oldest: Option<Timestamp>,
}

impl Board {
    /// Those whose availability it may show.
    pub fn people(&self) -> impl Iterator<Item = Uuid> {
        self.agents.iter().map(|agent| agent.user)
    }

    /// As the protocol shows it. Who is OFFLINE is listed only where he holds something, which somebody has to care for.
    pub fn to_proto(&self, now: Timestamp) -> proto::Board {
        let shown = self.agents.iter().filter(|agent| agent.state != Availability::Offline || agent.open > 0);
        proto::Board {
            team_id: self.team.to_string(),
            assignment_limit: self.limit,
            queue_length: self.queues.iter().map(|queue| queue.waiting).sum(),
            longest_wait_since: self.queues.iter().filter_map(|queue| queue.oldest).min().map(to_proto),
            queues: self.queues.iter().map(Queue::to_proto).collect(),
            agents: shown.map(Agent::to_proto).collect(),
            at: Some(to_proto(now)),
        }
    }
}

impl Agent {
    fn to_proto(&self) -> proto::BoardAgent {
        let availability = proto::Availability {
            user_id: self.user.to_string(),
            state: self.state.to_proto().into(),
            since: self.since.map(to_proto),
        };
        proto::BoardAgent { availability: Some(availability), open: self.open, lead: self.lead }
    }
}

impl Queue {
    fn to_proto(&self) -> proto::BoardQueue {
        proto::BoardQueue { priority: self.priority.to_proto().into(), waiting: self.waiting }
    }
}

/// The board of a team. `None`: there is no such active team.
pub async fn read(pool: &PgPool, account: Uuid, team: Uuid) -> Result<Option<Board>, Error> {
    let limit = sqlx::query_scalar!(
        "select assignment_limit from teams where account_id = $1 and id = $2 and receiving_id is null",
        account,
        team
    )
    .fetch_optional(pool)
    .instrument(diwan_store::span("read team of board"))
    .await?;
    let Some(limit) = limit else { return Ok(None) };
    let (agents, queues) = (agents(pool, account, team).await?, queues(pool, account, team).await?);
    Ok(Some(Board { team, limit, agents, queues }))
}

/// Whether somebody belongs to a team.
pub async fn is_member(tx: &mut super::Tx, account: Uuid, team: Uuid, user: Uuid) -> Result<bool, Error> {
    let member = sqlx::query_scalar!(
        "select member from slots where account_id = $1 and team_id = $2 and user_id = $3",
        account,
        team,
        user
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("look for member"))
    .await?;
    Ok(member == Some(true))
}

async fn agents(pool: &PgPool, account: Uuid, team: Uuid) -> Result<Vec<Agent>, Error> {
    let rows = sqlx::query!(
        r#"select s.user_id, s.open_count, s.lead, coalesce(p.state, 'OFFLINE') as "state!", p.since as "since?: SqlTimestamp"
           from slots s left join presence p on p.account_id = s.account_id and p.user_id = s.user_id
           where s.account_id = $1 and s.team_id = $2 and (s.member or s.open_count > 0)
           order by s.user_id"#,
        account,
        team
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("read agents of board"))
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Agent {
                user: row.user_id,
                state: Availability::of_name(&row.state).ok_or(Error::Unknown("availability"))?,
                since: jiff(row.since),
                open: row.open_count,
                lead: row.lead,
            })
        })
        .collect()
}

/// By priority, the most urgent first.
async fn queues(pool: &PgPool, account: Uuid, team: Uuid) -> Result<Vec<Queue>, Error> {
    let rows = sqlx::query!(
        r#"select priority, count(*) as "waiting!", min(queued_at) as "oldest: SqlTimestamp"
           from conversations where account_id = $1 and team_id = $2 and state = 'QUEUED'
           group by priority order by priority desc"#,
        account,
        team
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("read queues of board"))
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Queue {
                priority: Priority::of_level(row.priority).ok_or(Error::Unknown("priority"))?,
                waiting: i32::try_from(row.waiting).unwrap_or(i32::MAX),
                oldest: jiff(row.oldest),
            })
        })
        .collect()
}
