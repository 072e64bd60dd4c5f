//! What the conversation service has copied from others by their feeds, compared with theirs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use diwan_e2e::Failure;
use sqlx::PgPool;
use tokio::time::sleep;

use crate::{stage::Processes, watch};

const LIMIT: Duration = Duration::from_mins(1);

/// What is compared: the other service, its query, and that of the conversation service.
const COPIES: [(&str, &str, &str, &str); 3] = [
    (
        "teams",
        "team",
        "select format('%s limit %s %s hours %s', id, assignment_limit, archived_at is not null, working_hours is not null) from teams",
        "select format('%s limit %s %s hours %s', id, assignment_limit, receiving_id is not null, working_hours is not null) from teams",
    ),
    (
        "memberships",
        "team",
        "select format('%s %s lead %s', team_id, user_id, lead) from memberships where left_at is null",
        "select format('%s %s lead %s', team_id, user_id, lead) from slots where member",
    ),
    (
        "users",
        "identity",
        "select format('%s %s', id, state = 'USER_STATE_ACTIVE') from users",
        "select format('%s %s', id, active) from users",
    ),
];

/// Which copies are not what they are copies of, also after a while.
pub(crate) async fn compare(processes: &Processes, pool: &PgPool) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for (what, service, theirs, ours) in COPIES {
        let other = watch::open(processes.installation.database_url(service)).await?;
        let begun = Instant::now();
        loop {
            let (theirs, ours) = (rows(&other, theirs).await?, rows(pool, ours).await?);
            if theirs == ours {
                break;
            }
            if begun.elapsed() > LIMIT {
                let differ: Vec<_> = theirs.symmetric_difference(&ours).take(3).collect();
                found.push(format!("the copy of {what} differs: {differ:?}"));
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(found)
}

async fn rows(pool: &PgPool, query: &'static str) -> Result<BTreeSet<String>, Failure> {
    Ok(sqlx::query_scalar::<_, String>(query).fetch_all(pool).await?.into_iter().collect())
}
