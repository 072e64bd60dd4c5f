//! Looks at the database while everything goes on.

use std::{sync::atomic::Ordering, time::Duration};

use diwan_e2e::Failure;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::sleep;

use crate::stage::Stage;

const PAUSE: Duration = Duration::from_millis(300);

/// What must never be found: each look is one snapshot.
const HOMELESS: &str =
    "select count(*) from conversations c left join teams t on t.account_id = c.account_id and t.id = c.team_id
    where c.state in ('BOT', 'QUEUED', 'OPEN', 'SNOOZED') and t.archived is not false";

/// Opens a database of the installation.
pub(crate) async fn open(url: Option<String>) -> Result<PgPool, Failure> {
    let options: PgConnectOptions = url.ok_or("no database of its own")?.parse()?;
    Ok(PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(10)).connect_with(options).await?)
}

/// Sets the traps.
pub(crate) async fn set(pool: &PgPool) -> Result<(), Failure> {
    sqlx::raw_sql(include_str!("watch.sql")).execute(pool).await?;
    Ok(())
}

/// What was found while everything went on.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(crate) count: usize,
    /// Looks that found a conversation, not closed, without an active team.
    pub(crate) homeless: usize,
}

/// Looks until all is over. While PostgreSQL is away there is nothing to look at.
pub(crate) async fn look(stage: &Stage, pool: &PgPool) -> Looks {
    let mut looks = Looks::default();
    while !stage.over.load(Ordering::SeqCst) {
        if let Ok(found) = sqlx::query_scalar::<_, i64>(HOMELESS).fetch_one(pool).await {
            looks.count += 1;
            looks.homeless += usize::from(found > 0);
        }
        sleep(PAUSE).await;
    }
    looks
}
