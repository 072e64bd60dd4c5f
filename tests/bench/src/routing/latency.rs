//! A steady 300 arrivals a second: from the commit of an arrival to the commit of its assignment, as PostgreSQL notes them; and from the
//! answer that it has arrived to the agent's inbox that shows him its assignment.
//!
//! A few seconds go before that are not measured, and PostgreSQL takes its statistics after them, as it does by itself within the first
//! minute of an installation.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use diwan_e2e::Failure;
use diwan_proto::conversation::v1::{ConversationState, WatchInboxResponse, watch_inbox_response::Event};
use sqlx::PgConnection;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tonic::Streaming;

use super::{arrival::Arrivals, quiet, staff::Staff};
use crate::{
    cast::Scene,
    report::{self, Report},
    spread::Spread,
};

const TEAMS: usize = 5;
const AGENTS_A_TEAM: usize = 10;
const A_SECOND: u32 = 300;
const WARM_UP: u32 = 3;
const SECONDS: u32 = 20;
const LAST: Duration = Duration::from_secs(10);

type Times = mpsc::UnboundedSender<(String, Instant)>;

/// Measures it.
pub(super) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("routing: 300 arrivals a second for 20 s, 50 agents with open inboxes");
    let scene = Scene::start(&[]).await?;
    let staff = Staff::hire(&scene, TEAMS, AGENTS_A_TEAM).await?;
    let address = scene.installation.address("conversation").ok_or("no conversation service")?;
    let arrivals = Arrivals::open(address, &scene.installation.keys(), &staff.owner.user.account_id).await?;
    let (assignment, mut assignments) = mpsc::unbounded_channel();
    for inbox in staff.come_in(&scene).await? {
        tokio::spawn(read(inbox, assignment.clone()));
    }
    drop(assignment);
    let mut database = scene.database("conversation").await?;
    arrive(&arrivals, &staff, WARM_UP).await?;
    quiet::wait(&scene).await?;
    sqlx::raw_sql("analyze").execute(&mut database).await?;
    let measured = arrive(&arrivals, &staff, SECONDS).await?;
    let mut shown = HashMap::new();
    while measured.keys().any(|conversation| !shown.contains_key(conversation)) {
        let next = tokio::time::timeout(LAST, assignments.recv()).await;
        let (conversation, at) = next.map_err(|_| "not every conversation was assigned")?.ok_or("the inboxes ended")?;
        shown.entry(conversation).or_insert(at);
    }
    let committed = committed(&mut database, &measured).await?;
    scene.end().await?;
    let until = |(id, at): (&String, &Instant)| shown.get(id).map(|shown| shown.saturating_duration_since(*at));
    report::figure(
        "from arrival answered to assignment shown",
        Spread::of(measured.iter().filter_map(until).collect()),
    );
    report::figure("from arrival committed to assignment committed", &committed);
    let (p50, p99) = (committed.within(50), committed.within(99));
    report.bar("p50: under 10 ms", format!("{p50:.1?}"), p50 < Duration::from_millis(10));
    report.bar("p99: under 50 ms", format!("{p99:.1?}"), p99 < Duration::from_millis(50));
    Ok(())
}

/// Brings customers' messages for so many seconds; the conversations, and when each was answered.
async fn arrive(arrivals: &Arrivals, staff: &Staff, seconds: u32) -> Result<HashMap<String, Instant>, Failure> {
    let (arrival, mut done) = mpsc::unbounded_channel();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / A_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for team in staff.teams.iter().cycle().take(usize::try_from(A_SECOND * seconds)?) {
        tick.tick().await;
        tokio::spawn(one(arrivals.clone(), team.id.clone(), arrival.clone()));
    }
    drop(arrival);
    let mut arrived = HashMap::new();
    while let Some((conversation, at)) = done.recv().await {
        arrived.insert(conversation, at);
    }
    if arrived.len() < usize::try_from(A_SECOND * seconds)? {
        return Err("not every message was taken".into());
    }
    Ok(arrived)
}

async fn one(arrivals: Arrivals, team: String, arrived: Times) {
    if let Ok(conversation) = arrivals.one(&team).await {
        let _ = arrived.send((conversation, Instant::now()));
    }
}

/// From the commit of each arrival to that of its first assignment: each left a transition, which is never written again.
async fn committed(database: &mut PgConnection, measured: &HashMap<String, Instant>) -> Result<Spread, Failure> {
    let conversations: Vec<&str> = measured.keys().map(String::as_str).collect();
    let seconds: Vec<f64> = sqlx::query_scalar(
        "select extract(epoch from pg_xact_commit_timestamp(given.xmin) - pg_xact_commit_timestamp(arrived.xmin))::float8
         from transitions arrived
         join lateral (select xmin from transitions
                       where account_id = arrived.account_id and conversation_id = arrived.conversation_id and cause = 'AUTOMATIC'
                       order by version limit 1) given on true
         where arrived.version = 1 and arrived.conversation_id = any($1::text[]::uuid[])",
    )
    .bind(conversations)
    .fetch_all(database)
    .await?;
    if seconds.len() != measured.len() {
        return Err(format!("{} assignments of {} conversations", seconds.len(), measured.len()).into());
    }
    Ok(Spread::of(seconds.into_iter().map(|seconds: f64| Duration::from_secs_f64(seconds.max(0.0))).collect()))
}

/// Notes when each conversation was shown to be somebody's. Colleagues' inboxes show it too; the first counts.
async fn read(mut inbox: Streaming<WatchInboxResponse>, shown: Times) {
    while let Ok(Some(message)) = inbox.message().await {
        let Some(Event::Changed(changed)) = message.event else { continue };
        let Some(conversation) = changed.conversation else { continue };
        if conversation.state() == ConversationState::Open {
            let _ = shown.send((conversation.id, Instant::now()));
        }
    }
}
