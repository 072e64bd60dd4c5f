//! Everything that moves conversations, at once: whoever wins, the counters equal a recount and each history is one line.

use std::{sync::Arc, time::Duration};

use diwan_proto::{
    conversation::v1::{ConversationState, ListConversationsRequest, Priority, StartReassignmentRequest},
    identity::v1::UserState,
};
use diwan_runtime::{Clock as _, SystemClock};
use diwan_testkit::Person;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{acts::ahead, support::Office};

const RIVALS: u64 = 12;
const TURNS: usize = 40;

/// Refusals are answers, also to somebody who was deactivated meanwhile; failures are not.
fn answered<T>(result: Result<T, Status>) {
    if let Err(status) = result {
        let refused = matches!(status.code(), Code::FailedPrecondition | Code::NotFound | Code::Unauthenticated);
        assert!(refused, "{status:?}");
    }
}

/// A conversation that is not closed, as the owner sees them.
async fn some(office: &Office, random: &mut StdRng) -> Option<(Uuid, Option<Uuid>)> {
    let state =
        *[ConversationState::Open, ConversationState::Queued, ConversationState::Snoozed].choose(random).unwrap();
    let request = ListConversationsRequest { state: state.into(), ..Default::default() };
    let found = office.list(&office.owner, request).await;
    found.choose(random).map(|found| (found.id.parse().unwrap(), found.holder_id.parse().ok()))
}

async fn turn(office: &Office, (agents, teams): (&[Person], [Uuid; 2]), random: &mut StdRng) {
    let Some((id, holder)) = some(office, random).await else {
        office.arrive().await;
        return;
    };
    let holder = agents.iter().find(|agent| Some(agent.user) == holder).unwrap_or(&office.owner);
    let (anybody, team) = (agents.choose(random).unwrap(), *teams.choose(random).unwrap());
    match random.random_range(0..10) {
        0 | 1 => answered(office.close(holder, id).await),
        2 => answered(office.hand_over(holder, id, (None, Some(anybody.user))).await),
        3 => answered(office.hand_over(holder, id, (Some(team), None)).await),
        4 => answered(office.assign(&office.owner, id, anybody).await),
        5 => answered(office.take(anybody, id).await),
        6 => {
            let soon = ahead(SystemClock.now(), Duration::from_millis(random.random_range(1..400)));
            match office.snooze(holder, id, soon).await {
                // So short a time may have passed when it arrives.
                Err(status) if status.code() == Code::InvalidArgument => {}
                other => answered(other),
            }
        }
        7 => answered(office.unsnooze(holder, id).await),
        8 => answered(office.set_priority(&office.owner, id, Priority::Urgent).await),
        _ => {
            office.arrive().await;
            office.deliver(office.mail_to(team)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_overs_closes_snoozes_and_the_automatic_assignment_at_once_leave_the_counters_right() {
    let office = Arc::new(Office::open(2).await);
    let teams = [office.team, office.second_team(3).await];
    let mut agents = Vec::new();
    for number in 0..6 {
        let agent = office.agent_of(teams[number % 2]).await;
        if number < 2 {
            office.set_member(&agent, teams[(number + 1) % 2], 1, true);
        }
        agents.push(agent);
    }
    office.until("select count(*) from slots where member", 8).await;
    let mut inboxes = Vec::new();
    for agent in &agents {
        inboxes.push(office.watch(agent).await);
    }
    let rivals: Vec<_> = (0..RIVALS)
        .map(|seed| {
            let (office, agents) = (office.clone(), agents.clone());
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                for _ in 0..TURNS {
                    turn(&office, (&agents, teams), &mut random).await;
                }
            })
        })
        .collect();
    // People come and go, and an administrator moves much at once, meanwhile.
    for round in 0..6_i64 {
        office.set_user(&agents[5], 2 + 2 * round, UserState::Deactivated);
        office.set_member(&agents[0], teams[1], 2 + 2 * round, false);
        let (holder_id, to_team_id) = (agents[1].user.to_string(), teams[0].to_string());
        let request = StartReassignmentRequest { holder_id, to_team_id, ..Default::default() };
        let started = office.reassign(request).await.unwrap();
        office.reassigned(&started.id).await;
        office.set_user(&agents[5], 3 + 2 * round, UserState::Active);
        office.set_member(&agents[0], teams[1], 3 + 2 * round, true);
    }
    for rival in rivals {
        rival.await.unwrap();
    }
    office.until("select count(*) from conversations where state = 'SNOOZED'", 0).await;
    office.audit().await;
    assert!(office.count("select count(*) from transitions").await > 200, "much has happened");
}
