//! A backlog of 50,000 conversations over 20 teams and 200 agents without limits, as quickly as the service can.
//!
//! The conversations arrive as the mailbox service brings them, while nobody is there; once the audit log has caught up, all agents
//! become ACTIVE in one statement, as if each had sent a heartbeat, and the routing finds them by itself. What runs meanwhile is what
//! runs in production: identity follows the feed for the audit log. Nobody reads a stream here; see `latency` for that.

use std::time::{Duration, Instant};

use diwan_e2e::Failure;
use futures::{StreamExt as _, stream};
use sqlx::PgConnection;

use super::{arrival::Arrivals, checker, pgbench, quiet, staff::Staff};
use crate::{
    cast::Scene,
    report::{self, Report},
};

const CONVERSATIONS: usize = 50_000;
const TEAMS: usize = 20;
const AGENTS_A_TEAM: usize = 10;
const ARRIVE_AT_ONCE: usize = 64;
const LIMIT: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Measures it, and what the same PostgreSQL does with pgbench.
pub(super) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part(
        "routing: a backlog of 50,000 conversations, 20 teams, 200 agents; PostgreSQL's defaults for durability",
    );
    let scene = Scene::start(&[]).await?;
    let staff = Staff::hire(&scene, TEAMS, AGENTS_A_TEAM).await?;
    arrive(&scene, &staff).await?;
    quiet::wait(&scene).await?;
    let url = scene.installation.database_url("conversation").ok_or("no database")?;
    let before = pgbench::tps(&url).await?;
    let rate = assigned(&mut scene.database("conversation").await?).await?;
    let behind = Instant::now();
    quiet::wait(&scene).await?;
    report::figure("until the audit log has followed", format!("{:.1} s", behind.elapsed().as_secs_f64()));
    // Whichever run of it did better counts.
    let tps = before.max(pgbench::tps(&url).await?);
    report::figure("assignments a second", format!("{rate:.0}"));
    report::figure("pgbench -N -c 32 -j 2 -M prepared, transactions a second", format!("{tps:.0}"));
    report.bar("assignments to pgbench's transactions: at least 3", format!("{:.2}", rate / tps), rate >= 3.0 * tps);
    checker::measure(report, &scene).await?;
    scene.end().await
}

async fn arrive(scene: &Scene, staff: &Staff) -> Result<(), Failure> {
    let address = scene.installation.address("conversation").ok_or("no conversation service")?;
    let arrivals = Arrivals::open(address, &scene.installation.keys(), &staff.owner.user.account_id).await?;
    let teams = staff.teams.iter().cycle().take(CONVERSATIONS);
    let mut arriving = stream::iter(teams.map(|team| arrivals.one(&team.id))).buffer_unordered(ARRIVE_AT_ONCE);
    let (begun, mut done) = (Instant::now(), 0);
    while let Some(arrived) = arriving.next().await {
        arrived?;
        done += 1;
        if done % 500 == 0 {
            report::progress("conversations arrive", done, CONVERSATIONS);
        }
    }
    let rate = f64::from(u32::try_from(CONVERSATIONS)?) / begun.elapsed().as_secs_f64();
    report::figure("arrivals a second, 64 at once", format!("{rate:.0}"));
    Ok(())
}

/// Lets everybody be there; how many a second are assigned, from the first decision until the last one is committed.
async fn assigned(database: &mut PgConnection) -> Result<f64, Failure> {
    sqlx::raw_sql(
        "begin;
         insert into live_sessions (account_id, id, user_id, lease_until)
             select account_id, gen_random_uuid(), user_id, now() + interval '1 hour' from slots where member;
         insert into presence (account_id, user_id, state, since, version)
             select account_id, user_id, 'ACTIVE', now(), 1 from slots where member
             on conflict (account_id, user_id) do update set state = 'ACTIVE';
         commit;",
    )
    .execute(&mut *database)
    .await?;
    let waited = tokio::time::timeout(LIMIT, async {
        loop {
            // The counts of the agents: they change in the transaction of each assignment, and are quickly read.
            let open: i64 = sqlx::query_scalar("select sum(open_count) from slots").fetch_one(&mut *database).await?;
            let open = usize::try_from(open)?;
            report::progress("conversations are assigned", open, CONVERSATIONS);
            if open >= CONVERSATIONS {
                return Ok::<_, Failure>(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    waited.await.map_err(|_| "the backlog is not assigned in time")??;
    let (count, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from statement_timestamp() - min(at))::float8 from transitions
         where cause = 'AUTOMATIC'",
    )
    .fetch_one(database)
    .await?;
    let count = u32::try_from(count)?;
    if usize::try_from(count)? != CONVERSATIONS {
        return Err(format!("{count} assignments of {CONVERSATIONS} conversations").into());
    }
    Ok(f64::from(count) / seconds)
}
