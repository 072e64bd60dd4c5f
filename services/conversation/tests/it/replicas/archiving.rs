//! Teams are archived, one in favour of another and that one in turn, while two processes work and one of them is killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use diwan_proto::{
    conversation::v1::{
        ConversationState, HandOverConversationRequest, handling_service_client::HandlingServiceClient,
    },
    team::v1::{Team, TeamChanged, VisibilityLevel},
};
use diwan_runtime::ids;
use diwan_testkit::Person;
use sqlx::AssertSqlSafe;
use tokio::{sync::mpsc::unbounded_channel, task::JoinSet};
use uuid::Uuid;

use super::{AGENTS, ASSIGNMENT_LIMIT, Company, LANES, Replica, size, work::outcome};
use crate::support::{WRONG_COUNTS, WRONG_HISTORIES};

/// A replica is killed at least so often, after this time each.
const KILLS: usize = 3;
const PAUSE: Duration = Duration::from_millis(300);
/// What must never be found: each look is one snapshot.
const HOMELESS: &str = "select count(*) from conversations c
    left join teams t on t.account_id = c.account_id and t.id = c.team_id
    where c.state <> 'CLOSED' and t.archived is not false";

impl Company {
    fn archive(&self, team: usize, heir: usize, version: i64) {
        let message = Team {
            id: self.teams[team].to_string(),
            assignment_limit: ASSIGNMENT_LIMIT,
            visibility_level: VisibilityLevel::Default.into(),
            archived_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            receiving_team_id: self.teams[heir].to_string(),
            ..Default::default()
        };
        self.team_feed.write(self.owner.account, self.teams[team], version, &TeamChanged { team: Some(message) });
    }

    /// Everything that the stock put into the queues is with one team.
    async fn gather(&self, team: usize) {
        for table in ["conversations", "transitions"] {
            let gather = format!("update {table} set team_id = '{}'", self.teams[team]);
            sqlx::raw_sql(AssertSqlSafe(gather)).execute(&self.database.pool).await.unwrap();
        }
    }

    /// Looks all the time, until it is over. Returns how often.
    async fn observe(self: Arc<Self>, over: Arc<AtomicBool>) -> usize {
        let mut looks = 0;
        while !over.load(Ordering::SeqCst) {
            assert_eq!(self.count(HOMELESS).await, 0, "not closed, and with a team that is archived");
            looks += 1;
        }
        looks
    }

    /// Closes what an agent has, and hands some of it over to the first team, until it is over.
    async fn toil(self: Arc<Self>, agent: usize, over: Arc<AtomicBool>) {
        let person = &self.agents[agent].0;
        let me = person.user.to_string();
        for turn in agent.. {
            if over.load(Ordering::SeqCst) {
                return;
            }
            for id in self.list(turn % 2, person, ConversationState::Open, me.clone(), Uuid::nil()).await {
                if turn % 3 == 0 {
                    self.hand_over(turn % 2, person, id, self.teams[0]).await;
                } else {
                    self.close(turn % 2, person, &id).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn hand_over(&self, replica: usize, person: &Person, id: String, team: Uuid) {
        let request = HandOverConversationRequest {
            request_id: ids::new_id().to_string(),
            conversation_id: id,
            team_id: team.to_string(),
            user_id: String::new(),
            note: String::new(),
        };
        for turn in replica.. {
            let mut client = HandlingServiceClient::new(self.to(turn % 2));
            let request = self.world.request(person, request.clone());
            if outcome(client.hand_over_conversation(request).await).await.is_some() {
                return;
            }
        }
    }

    /// Whether nothing is left with the two teams that are archived.
    async fn emptied(&self) -> bool {
        self.count("select count(*) from teams where archived").await == 2
    }

    /// Kills the second replica and starts it again, until all is moved. Meanwhile the heir is archived in turn, and the first one's heir
    /// moves on with it. Returns the replica and how often it was killed.
    async fn kill_until_emptied(&self, mut killed: Replica, limit: Duration) -> (Replica, usize) {
        let begun = Instant::now();
        let mut kills = 0;
        loop {
            tokio::time::sleep(PAUSE).await;
            killed.process.kill().unwrap();
            killed.process.wait().unwrap();
            kills += 1;
            if kills == 2 {
                self.archive(1, 2, 2);
                self.archive(0, 2, 3);
            }
            killed = self.start(1).await;
            if kills >= KILLS && self.emptied().await {
                return (killed, kills);
            }
            assert!(begun.elapsed() < limit, "not all has moved within {limit:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_is_resumed_after_kills_and_at_no_instant_leaves_a_conversation_without_an_active_team() {
    let conversations = size(3_000);
    let company = Arc::new(Company::open().await);
    let _stays = company.start(0).await;
    let killed = company.start(1).await;
    company.stock(conversations).await;
    company.gather(0).await;
    let over = Arc::new(AtomicBool::default());
    let (mut streams, mut toil) = (JoinSet::new(), JoinSet::new());
    for agent in 0..AGENTS {
        streams.spawn(company.clone().stay(agent, unbounded_channel().0));
        toil.spawn(company.clone().toil(agent, over.clone()));
    }
    let observer = tokio::spawn(company.clone().observe(over.clone()));
    let lanes: JoinSet<()> = (0..LANES).map(|lane| company.clone().bring(lane, 40)).collect();
    let start = Instant::now();
    company.archive(0, 1, 2);
    let limit = Duration::from_mins(5) + Duration::from_millis(10).saturating_mul(conversations.try_into().unwrap());
    let (_killed, kills) = company.kill_until_emptied(killed, limit).await;
    let took = start.elapsed().as_secs();
    let moves = company.count("select sum(archive_moved) from teams").await;
    println!(
        "{conversations} conversations: {moves} moves in {took} s, {} a second; a replica killed {kills} times",
        moves / took.max(1).cast_signed()
    );
    lanes.join_all().await;
    over.store(true, Ordering::SeqCst);
    toil.join_all().await;
    assert!(observer.await.unwrap() > 10, "it was looked at all the time");
    let all = company.count("select count(*) from conversations").await;
    assert_eq!(usize::try_from(all).unwrap(), conversations + LANES * 40, "none lost, none twice");
    assert_eq!(company.count(HOMELESS).await, 0);
    assert_eq!(company.count(WRONG_COUNTS).await, 0, "slots differ from a recount");
    assert_eq!(company.count(WRONG_HISTORIES).await, 0, "two holders, or a lost change");
    assert_eq!(company.count("select count(*) from above_limit").await, 0, "above the limit automatically");
    let counted = "select (select sum(archive_moved) from teams) -
        (select count(*) from transitions where cause = 'TEAM_ARCHIVED')";
    assert_eq!(company.count(counted).await, 0, "the progress counts what has moved");
}
