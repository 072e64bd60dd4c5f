//! How the time of a decision grows with the queue and with the team: conversations that wait, and agents in one team.
//!
//! Twice for each size. *In a batch*: a backlog is given out to a team without a limit, by the times that the ledger says, for each
//! assignment of a full batch. *For a slot*: everybody is at his limit of one, somebody closes what he has, and waits for the next
//! conversation; that includes the wake-up, and the commit.
//!
//! Conversations and most agents are put into the database by SQL: a hundred thousand of them would take minutes by calls.

use std::time::{Duration, Instant};

use diwan_e2e::{
    Failure,
    door::{Person, request_id},
};
use diwan_proto::{
    conversation::v1::{
        CloseConversationRequest, WatchInboxRequest, conversation_service_client::ConversationServiceClient,
        inbox_service_client::InboxServiceClient,
    },
    team::v1::{CreateTeamRequest, Team, team_service_client::TeamServiceClient},
};
use futures::StreamExt as _;
use sqlx::PgConnection;

use crate::{
    cast::Scene,
    report::{self, Report},
    spread::Spread,
};

/// Conversations that wait, and agents.
type Size = (i32, i32);

const SIZES: [Size; 5] = [(1_000, 100), (10_000, 100), (100_000, 100), (10_000, 10), (10_000, 1_000)];
/// The sizes that show how a time grows with the queue, and with the team.
const QUEUES: [usize; 3] = [0, 1, 2];
const TEAMS: [usize; 3] = [3, 1, 4];
/// Slots that are freed one after the other.
const SLOTS: usize = 60;
const BATCHES: i64 = 20;
const LIMIT: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_micros(500);

/// What a decision takes.
#[derive(Clone, Copy, Debug)]
struct Times {
    assignment: Duration,
    slot: Duration,
}

/// Measures all sizes, and prints the table.
pub(super) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("routing: how the time of a decision grows; most of what waits and who is there is put in by SQL");
    let scene = Scene::start(&[("DIWAN_CONVERSATION_SWEEP_MS", "200")]).await?;
    let owner = scene.owner().await?;
    scene.seats(&owner, 2 * SIZES.len()).await?;
    let mut database = scene.database("conversation").await?;
    let mut measured = Vec::new();
    for (place, size) in SIZES.into_iter().enumerate() {
        report::progress("sizes measured", place, SIZES.len());
        let slot = slot(&scene, &owner, &mut database, size).await?;
        let assignment = batch(&owner, &mut database, size).await?;
        measured.push(Times { assignment, slot });
    }
    scene.end().await?;
    report::progress("sizes measured", SIZES.len(), SIZES.len());
    for ((waiting, agents), times) in SIZES.iter().zip(&measured) {
        let times = format!("{:.1?} in a batch, {:.2?} for a slot", times.assignment, times.slot);
        report::figure(&format!("{waiting} waiting, {agents} agents"), times);
    }
    grows(report, "the queue, 1,000 to 100,000", QUEUES.map(|place| (SIZES[place].0, measured[place])));
    grows(report, "the team, 10 to 1,000", TEAMS.map(|place| (SIZES[place].1, measured[place])));
    Ok(())
}

/// Grows a time no faster than the logarithm of the size? From the smallest size to each larger one.
fn grows(report: &mut Report, with: &str, times: [(i32, Times); 3]) {
    let [(least, first), larger @ ..] = times;
    for (what, time) in [("in a batch", (|t| t.assignment) as fn(Times) -> Duration), ("for a slot", |t| t.slot)] {
        let factors = larger.map(|(size, times)| {
            let allowed = f64::from(size).ln() / f64::from(least).ln();
            (time(times).as_secs_f64() / time(first).as_secs_f64(), allowed)
        });
        let said = factors.map(|(factor, allowed)| format!("{factor:.2} of {allowed:.2}")).join(", ");
        let reached = factors.iter().all(|(factor, allowed)| factor <= allowed);
        report.bar(&format!("{what}, with {with}: times, of the logarithm's"), said, reached);
    }
}

/// From a slot that is free to the conversation that takes it.
async fn slot(scene: &Scene, owner: &Person, database: &mut PgConnection, size: Size) -> Result<Duration, Failure> {
    let team = team(owner, 1).await?;
    let hired = scene.hire(owner, &team).await?;
    fill(database, &team, (size.0, size.1 - 1), true).await?;
    let agent = scene.sign_in(&hired).await?;
    let inbox = InboxServiceClient::new(agent.way()).watch_inbox(WatchInboxRequest::default()).await?.into_inner();
    let reader = tokio::spawn(inbox.for_each(|_| async {}));
    let mut held = next_of(database, &agent).await?;
    let mut times = Vec::with_capacity(SLOTS);
    for _ in 0..SLOTS {
        let request = CloseConversationRequest { request_id: request_id(), conversation_id: held };
        ConversationServiceClient::new(agent.way()).close_conversation(request).await?;
        let free = Instant::now();
        held = next_of(database, &agent).await?;
        times.push(free.elapsed());
    }
    reader.abort();
    empty(database, &team).await?;
    Ok(Spread::of(times).within(50))
}

/// What a batch takes for each of its assignments.
async fn batch(owner: &Person, database: &mut PgConnection, size: Size) -> Result<Duration, Failure> {
    let team = team(owner, 0).await?;
    fill(database, &team, size, false).await?;
    come_in(database, &team).await?;
    let given_out = tokio::time::timeout(LIMIT, async {
        while count(database, &team, "QUEUED").await? > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<(), Failure>(())
    });
    given_out.await.map_err(|_| "the backlog is not given out in time")??;
    // One after the other, each begins where the one before it ended; the last one may be smaller.
    let seconds: f64 = sqlx::query_scalar(
        "with made as (select d.decided_at, (select count(*) from transitions t
                                             where t.account_id = d.account_id and t.decision_id = d.id) as given
                       from decisions d where account_id = $1::uuid and team_id = $2::uuid order by decided_at limit $3),
              timed as (select extract(epoch from lead(decided_at) over (order by decided_at) - decided_at)::float8 / given as time
                        from made)
         select percentile_cont(0.5) within group (order by time) from timed where time is not null",
    )
    .bind(&team.account_id)
    .bind(&team.id)
    .bind(BATCHES)
    .fetch_one(&mut *database)
    .await?;
    empty(database, &team).await?;
    Ok(Duration::from_secs_f64(seconds))
}

async fn team(owner: &Person, limit: i32) -> Result<Team, Failure> {
    let request = CreateTeamRequest {
        request_id: request_id(),
        name: request_id(),
        assignment_limit: limit,
        ..CreateTeamRequest::default()
    };
    let answer = TeamServiceClient::new(owner.way()).create_team(request).await?.into_inner();
    Ok(answer.team.ok_or("no team was made")?)
}

/// Puts conversations into a team's queue and agents into the team; `full` ones are there and at their limit.
async fn fill(database: &mut PgConnection, team: &Team, (waiting, agents): Size, full: bool) -> Result<(), Failure> {
    known(database, team).await?;
    sqlx::query(
        "with added as (
             insert into users (account_id, id, role, active, version)
             select $1::uuid, gen_random_uuid(), 3, true, 1 from generate_series(1, $3) returning id)
         insert into slots (account_id, team_id, user_id, member, membership_version, open_count)
         select $1::uuid, $2::uuid, id, true, 1, $4 from added",
    )
    .bind(&team.account_id)
    .bind(&team.id)
    .bind(agents)
    .bind(i32::from(full))
    .execute(&mut *database)
    .await?;
    if full {
        come_in(database, team).await?;
    }
    sqlx::query(
        "with customer as (
             insert into contacts (account_id, id, name, email, created_at)
             select $1::uuid, gen_random_uuid(), 'Maha', 'maha@customers.example', now() returning id)
         insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                    queued_at, last_message_at)
         select $1::uuid, gen_random_uuid(), $2::uuid, customer.id, 'QUEUED', 'Where is my order?', 'support@example.com', 1, at, at, at
         from customer, generate_series(1, $3) as place, make_interval(secs => place / 1000.0) as later,
              lateral (select now() - interval '1 hour' + later) as times (at)",
    )
    .bind(&team.account_id)
    .bind(&team.id)
    .bind(waiting)
    .execute(&mut *database)
    .await?;
    sqlx::raw_sql("analyze conversations; analyze slots; analyze users; analyze presence").execute(database).await?;
    Ok(())
}

/// Waits until the conversation service knows the team.
async fn known(database: &mut PgConnection, team: &Team) -> Result<(), Failure> {
    let found = async {
        while !sqlx::query_scalar("select exists (select from teams where account_id = $1::uuid and id = $2::uuid)")
            .bind(&team.account_id)
            .bind(&team.id)
            .fetch_one(&mut *database)
            .await?
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok::<(), Failure>(())
    };
    tokio::time::timeout(LIMIT, found).await.map_err(|_| "a team does not become known")?
}

/// Everybody of the team is there, as if by a heartbeat, and stays for an hour.
async fn come_in(database: &mut PgConnection, team: &Team) -> Result<(), Failure> {
    sqlx::query(
        "with lives as (
             insert into live_sessions (account_id, id, user_id, lease_until)
             select account_id, gen_random_uuid(), user_id, now() + interval '1 hour' from slots
             where account_id = $1::uuid and team_id = $2::uuid and member)
         insert into presence (account_id, user_id, state, since, version)
         select account_id, user_id, 'ACTIVE', now(), 1 from slots where account_id = $1::uuid and team_id = $2::uuid and member
         on conflict (account_id, user_id) do update set state = 'ACTIVE'",
    )
    .bind(&team.account_id)
    .bind(&team.id)
    .execute(database)
    .await?;
    Ok(())
}

/// Nobody of the team is there any more: the next size is measured without them.
async fn empty(database: &mut PgConnection, team: &Team) -> Result<(), Failure> {
    sqlx::query(
        "update presence set state = 'OFFLINE'
         where account_id = $1::uuid and user_id in (select user_id from slots where account_id = $1::uuid and team_id = $2::uuid)",
    )
    .bind(&team.account_id)
    .bind(&team.id)
    .execute(database)
    .await?;
    Ok(())
}

async fn count(database: &mut PgConnection, team: &Team, state: &str) -> Result<i64, Failure> {
    let count = sqlx::query_scalar(
        "select count(*) from conversations where account_id = $1::uuid and team_id = $2::uuid and state = $3",
    );
    Ok(count.bind(&team.account_id).bind(&team.id).bind(state).fetch_one(database).await?)
}

/// What the agent holds, once he holds something.
async fn next_of(database: &mut PgConnection, agent: &Person) -> Result<String, Failure> {
    let next = async {
        loop {
            let held: Option<String> = sqlx::query_scalar(
                "select id::text from conversations where account_id = $1::uuid and holder_id = $2::uuid and state = 'OPEN'",
            )
            .bind(&agent.user.account_id)
            .bind(&agent.user.id)
            .fetch_optional(&mut *database)
            .await?;
            if let Some(held) = held {
                return Ok::<String, Failure>(held);
            }
            // Without a pause this would take a core from those whom it measures.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(LIMIT, next).await.map_err(|_| "a free slot gets nothing")?
}
