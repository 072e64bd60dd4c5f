//! After the last operation and the last kill: everybody comes back, everything that is under way ends, and the queues drain.

use std::time::{Duration, Instant};

use diwan_e2e::Failure;
use sqlx::PgPool;
use tokio::time::sleep;

use crate::{call::At, stage::Stage};

const LIMIT: Duration = Duration::from_mins(3);

/// Somebody could get what waits, by a recount of what he holds.
const IDLE: &str = "select count(*) from slots s
    join users u on u.account_id = s.account_id and u.id = s.user_id and u.active
    join presence p on p.account_id = s.account_id and p.user_id = s.user_id and p.state = 'ACTIVE'
    join teams t on t.account_id = s.account_id and t.id = s.team_id and t.receiving_id is null
    where s.member
      and exists (select from conversations c
                  where c.account_id = s.account_id and c.team_id = s.team_id and c.state = 'QUEUED')
      and (t.assignment_limit = 0
           or t.assignment_limit > (select count(*) from conversations c
                                    where c.account_id = s.account_id and c.team_id = s.team_id
                                      and c.holder_id = s.user_id and c.state = 'OPEN'))";

/// What ends by itself.
const UNDER_WAY: [(&str, &str); 6] = [
    ("conversations are with bots that are disabled", "select count(*) from conversations where state = 'BOT'"),
    ("conversations are put off", "select count(*) from conversations where state = 'SNOOZED'"),
    ("bulk reassignments run", "select count(*) from reassignments where finished_at is null"),
    ("archived teams are not empty", "select count(*) from teams where receiving_id is not null and not archived"),
    ("answers wait to be sent", "select count(*) from sends"),
    ("agents idle while something waits for them", IDLE),
];

impl Stage {
    /// Takes every team back into use and opens it, sends the bots home, and has everybody there and ACTIVE. Returns what does not end.
    pub(crate) async fn settle(&self, pool: &PgPool) -> Result<Vec<String>, Failure> {
        self.unarchive_some().await?;
        for bot in [self.bots().external, self.bots().menu] {
            self.enable(At::Replica(0), bot, false).await?;
        }
        for (number, team) in self.teams.iter().enumerate() {
            self.hours(team, true).await?;
            self.no_answer(team.clone(), 0).await?;
            // Every team has somebody who can take what waits there.
            let agent = &self.agents[number % self.agents.len()];
            self.join(team.clone(), agent.id.to_string()).await?;
        }
        for (number, agent) in self.agents.iter().enumerate() {
            agent.want(true);
            let begun = Instant::now();
            while self.become_available(At::Replica(number), agent, true).await?.is_none_or(|ended| !ended.is_done()) {
                if begun.elapsed() > LIMIT {
                    return Ok(vec![format!("agent {number} has an open inbox, but cannot become ACTIVE")]);
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        // What a killed replica was about to send is tried again later: now.
        sqlx::query("update sends set due_at = now()").execute(pool).await?;
        let mut left = Vec::new();
        for (what, query) in UNDER_WAY {
            left.extend(ends(pool, what, query).await?);
        }
        Ok(left)
    }

    /// Lifts every limit: then all that waits finds somebody. Returns what does not.
    pub(crate) async fn drain(&self, pool: &PgPool) -> Result<Option<String>, Failure> {
        for team in &self.teams {
            self.limit(team, 0).await?;
        }
        ends(pool, "conversations wait", "select count(*) from conversations where state = 'QUEUED'").await
    }
}

/// Nobody is there any more: then everybody is OFFLINE soon, whoever has died with a stream. Returns what is not.
pub(crate) async fn vanish(pool: &PgPool) -> Result<Option<String>, Failure> {
    ends(pool, "ghosts: there without a session", "select count(*) from presence where state <> 'OFFLINE'").await
}

async fn ends(pool: &PgPool, what: &str, query: &'static str) -> Result<Option<String>, Failure> {
    let begun = Instant::now();
    loop {
        let left: i64 = sqlx::query_scalar(query).fetch_one(pool).await?;
        if left == 0 {
            return Ok(None);
        }
        if begun.elapsed() > LIMIT {
            return Ok(Some(format!("{left} {what}, still after {LIMIT:?}")));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
