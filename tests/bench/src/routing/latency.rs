//! A steady 300 arrivals a second: from the answer that an arrival is committed to the agent's inbox that shows him its
//! assignment, which is later than the commit.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use diwan_e2e::Failure;
use diwan_proto::conversation::v1::{ConversationState, WatchInboxResponse, watch_inbox_response::Event};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tonic::Streaming;

use super::{arrival::Arrivals, staff::Staff};
use crate::{
    cast::Scene,
    report::{self, Report},
    spread::Spread,
};

const TEAMS: usize = 5;
const AGENTS_A_TEAM: usize = 10;
const A_SECOND: u32 = 300;
const SECONDS: u32 = 20;
const WARM_UP: usize = 600;
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
    let (arrival, mut arrivals_done) = mpsc::unbounded_channel();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / A_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for team in staff.teams.iter().cycle().take(usize::try_from(A_SECOND * SECONDS)?) {
        tick.tick().await;
        tokio::spawn(arrive(arrivals.clone(), team.id.clone(), arrival.clone()));
    }
    drop((arrival, assignment));
    let mut committed = HashMap::new();
    let mut order = Vec::new();
    while let Some((conversation, at)) = arrivals_done.recv().await {
        committed.insert(conversation.clone(), at);
        order.push(conversation);
    }
    let mut assigned = HashMap::new();
    while assigned.len() < committed.len() {
        let next = tokio::time::timeout(LAST, assignments.recv()).await;
        let (conversation, at) = next.map_err(|_| "not every conversation was assigned")?.ok_or("the inboxes ended")?;
        assigned.entry(conversation).or_insert(at);
    }
    scene.end().await?;
    let between = |id: &String| Some(assigned.get(id)?.saturating_duration_since(*committed.get(id)?));
    let spread = Spread::of(order.iter().skip(WARM_UP).filter_map(between).collect());
    report::figure("from arrival committed to assignment shown", &spread);
    report.bar("p50: under 10 ms", format!("{:.1?}", spread.within(50)), spread.within(50) < Duration::from_millis(10));
    report.bar("p99: under 50 ms", format!("{:.1?}", spread.within(99)), spread.within(99) < Duration::from_millis(50));
    Ok(())
}

async fn arrive(arrivals: Arrivals, team: String, arrived: Times) {
    if let Ok(conversation) = arrivals.one(&team).await {
        let _ = arrived.send((conversation, Instant::now()));
    }
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
