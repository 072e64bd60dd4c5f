//! A backlog of 50,000 conversations over 20 teams and 200 agents without limits, as quickly as the service can.

use std::time::Duration;

use diwan_e2e::Failure;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::{Connection as _, PgConnection};

use super::{arrival::Arrivals, pgbench, staff::Staff};
use crate::{
    cast::Scene,
    report::{self, Report},
};

const CONVERSATIONS: usize = 50_000;
const TEAMS: usize = 20;
const AGENTS_A_TEAM: usize = 10;
const ARRIVE_AT_ONCE: usize = 64;
const LIMIT: Duration = Duration::from_mins(5);

/// Measures it, and what the same PostgreSQL does with pgbench.
pub(super) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part(
        "routing: a backlog of 50,000 conversations, 20 teams, 200 agents; PostgreSQL's defaults for durability",
    );
    let scene = Scene::start(&[]).await?;
    let staff = Staff::hire(&scene, TEAMS, AGENTS_A_TEAM).await?;
    let address = scene.installation.address("conversation").ok_or("no conversation service")?;
    let arrivals = Arrivals::open(address, &scene.installation.keys(), &staff.owner.user.account_id).await?;
    let teams = staff.teams.iter().cycle().take(CONVERSATIONS);
    let arriving = stream::iter(teams.map(|team| arrivals.one(&team.id)));
    let begun = std::time::Instant::now();
    arriving.buffer_unordered(ARRIVE_AT_ONCE).map_ok(drop).try_collect::<()>().await?;
    report::figure("arrivals a second", per_second(CONVERSATIONS, begun.elapsed()));
    let url = scene.installation.database_url("conversation").ok_or("no database")?;
    let inboxes = staff.come_in(&scene).await?;
    let readers: Vec<_> = inboxes.into_iter().map(|inbox| tokio::spawn(inbox.for_each(|_| async {}))).collect();
    let rate = assigned(&url).await?;
    for reader in readers {
        reader.abort();
    }
    let tps = pgbench::tps(&url).await?;
    scene.end().await?;
    report::figure("assignments a second", format!("{rate:.0}"));
    report::figure("pgbench -N -c 32 -j 2 -M prepared, transactions a second", format!("{tps:.0}"));
    report.bar("assignments to pgbench's transactions: at least 3", format!("{:.2}", rate / tps), rate >= 3.0 * tps);
    Ok(())
}

/// Waits until all are assigned; how many a second, from the first decision to the last.
async fn assigned(url: &str) -> Result<f64, Failure> {
    let mut database = PgConnection::connect(url).await?;
    let waited = async {
        loop {
            let waiting: i64 = sqlx::query_scalar("select count(*) from conversations where state = 'QUEUED'")
                .fetch_one(&mut database)
                .await?;
            if waiting == 0 {
                return Ok::<(), Failure>(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LIMIT, waited).await.map_err(|_| "the backlog is not assigned in time")??;
    let (count, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from max(at) - min(at))::float8 from transitions where cause = 'AUTOMATIC'",
    )
    .fetch_one(&mut database)
    .await?;
    let count = u32::try_from(count)?;
    if usize::try_from(count)? != CONVERSATIONS {
        return Err(format!("{count} assignments of {CONVERSATIONS} conversations").into());
    }
    Ok(f64::from(count) / seconds)
}

fn per_second(count: usize, time: Duration) -> String {
    format!("{:.0}", u32::try_from(count).map_or(f64::NAN, f64::from) / time.as_secs_f64())
}
