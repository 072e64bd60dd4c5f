//! Two processes of the service on one database, used by many at once.

mod archiving;
mod presence;
mod work;

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        CheckRoutingRequest, CheckRoutingResponse, ListAvailabilityRequest, Violation,
        checker_service_client::CheckerServiceClient, conversation_service_client::ConversationServiceClient,
        inbox_service_client::InboxServiceClient,
    },
    identity::v1::{User, UserChanged, UserState},
    team::v1::{Membership, MembershipChanged, Team, TeamChanged, VisibilityLevel},
};
use diwan_runtime::{Env, SystemClock, ids};
use diwan_testkit::{FakeFeed, Person, TestDatabase, World, eventually};
use diwan_transport::{Methods, Network, Transport, bind, serve};
use futures::TryStreamExt as _;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    fakes::FakeMailbox,
    support::{WRONG_COUNTS, WRONG_HISTORIES},
};

const TEAMS: usize = 8;
const AGENTS: usize = 32;
const ASSIGNMENT_LIMIT: i32 = 3;
/// Mails come in on so many lines.
const LANES: usize = 8;
/// Notes whoever gets one automatically and is above the limit by it: by a recount under the lock of his slot, not by the counter
/// that the service keeps.
const WATCHDOG: &str = "
    create table above_limit (conversation_id uuid, held bigint);
    create function watch_limit() returns trigger language plpgsql as $$
    declare held bigint;
    begin
        select count(*) into held from conversations c
        where c.account_id = new.account_id and c.team_id = new.team_id and c.holder_id = new.to_holder_id and c.state = 'OPEN';
        if held > (select assignment_limit from teams t where t.account_id = new.account_id and t.id = new.team_id) then
            insert into above_limit values (new.conversation_id, held);
        end if;
        return null;
    end $$;
    create trigger watch_limit after insert on transitions for each row
        when (new.cause = 'AUTOMATIC') execute function watch_limit();";

struct Replica {
    process: Child,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Company {
    world: World,
    database: TestDatabase,
    teams: Vec<Uuid>,
    team_feed: FakeFeed,
    owner: Person,
    agents: Vec<(Person, Uuid)>,
    environment: Vec<(String, String)>,
    addresses: Vec<SocketAddr>,
    ways: Vec<Network>,
}

impl Company {
    async fn open() -> Self {
        let world = World::new(SystemClock::shared());
        let database = TestDatabase::new(&diwan_conversation::MIGRATOR).await;
        sqlx::raw_sql(WATCHDOG).execute(&database.pool).await.unwrap();
        let (team_feed, user_feed) = (FakeFeed::default(), FakeFeed::default());
        let neighbours = [
            ("TEAM", team_feed.methods("team").await),
            ("IDENTITY", user_feed.identity(world.access_keys()).await),
            ("MAILBOX", FakeMailbox::default().methods().await),
        ];
        let nowhere = "http://127.0.0.1:1".to_owned();
        let mut environment = vec![
            ("DIWAN_CONVERSATION_DATABASE_URL".into(), database.url.clone()),
            ("DIWAN_KEYS".into(), world.context("conversation", Env::default()).keys.display().to_string()),
            ("DIWAN_BILLING_ADDRESS".into(), nowhere.clone()),
            ("DIWAN_CONVERSATION_ADDRESS".into(), nowhere),
            ("DIWAN_LOG".into(), std::env::var("DIWAN_LOG").unwrap_or("warn".into())),
        ];
        for (name, methods) in neighbours {
            environment.push((format!("DIWAN_{name}_ADDRESS"), listen(&world, methods).await));
        }
        let addresses: Vec<SocketAddr> = (0..2).map(|_| free_address()).collect();
        let ways = addresses.iter().map(|address| way(&environment, *address)).collect();
        let owner = Person::owner();
        let teams: Vec<Uuid> = (0..TEAMS).map(|_| ids::new_id()).collect();
        let agents: Vec<_> = (0..AGENTS).map(|number| (owner.colleague(Role::User), teams[number % TEAMS])).collect();
        let company = Self { world, database, teams, team_feed, owner, agents, environment, addresses, ways };
        company.tell(&user_feed);
        company
    }

    fn tell(&self, user_feed: &FakeFeed) {
        let (account, team_feed) = (self.owner.account, &self.team_feed);
        for team in &self.teams {
            let team_message = Team {
                id: team.to_string(),
                assignment_limit: ASSIGNMENT_LIMIT,
                visibility_level: VisibilityLevel::Default.into(),
                ..Default::default()
            };
            team_feed.write(account, *team, 1, &TeamChanged { team: Some(team_message) });
        }
        for (agent, team) in &self.agents {
            let user = User { role: agent.role.into(), state: UserState::Active.into(), ..Default::default() };
            user_feed.write(account, agent.user, 1, &UserChanged { user: Some(user) });
            let membership =
                Membership { team_id: team.to_string(), user_id: agent.user.to_string(), ..Default::default() };
            let joined = MembershipChanged { membership: Some(membership), member: true };
            team_feed.write(account, ids::new_id(), 1, &joined);
        }
    }

    async fn start(&self, number: usize) -> Replica {
        let address = self.addresses[number];
        let process = Command::new(env!("CARGO_BIN_EXE_diwan-conversation"))
            .arg("serve")
            .env_clear()
            .envs(self.environment.iter().cloned())
            .env("DIWAN_LISTEN", address.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let replica = Replica { process };
        eventually("the replica answers", Duration::from_secs(30), async || {
            let mut client = InboxServiceClient::new(self.to(number));
            client.list_availability(self.world.request(&self.owner, ListAvailabilityRequest {})).await.is_ok()
        })
        .await;
        replica
    }

    fn to(&self, replica: usize) -> Transport {
        self.ways[replica].to("conversation")
    }

    fn conversations(&self, replica: usize) -> ConversationServiceClient<Transport> {
        ConversationServiceClient::new(self.to(replica))
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.database.pool).await.unwrap()
    }

    /// Puts so many conversations into the queues at once.
    async fn stock(&self, count: usize) {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "insert into contacts values ('{account}', '{account}', '', 'maha@example.com', 'maha@example.com', now());
             insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                        queued_at, last_message_at)
             select '{account}', gen_random_uuid(), ('{{{teams}}}'::uuid[])[number % {TEAMS} + 1], '{account}', 'QUEUED', '', '', 1,
                    now(), now(), now()
             from generate_series(1, {count}) number;
             insert into transitions (account_id, conversation_id, version, at, cause, to_state, team_id, over_limit)
             select account_id, id, 1, now(), 'ARRIVAL', 'QUEUED', team_id, false from conversations",
            account = self.owner.account,
            teams = self.teams.iter().map(Uuid::to_string).collect::<Vec<_>>().join(","),
        )))
        .execute(&self.database.pool)
        .await
        .unwrap();
    }

    /// What the checker of the first replica finds.
    async fn violations(&self) -> Vec<Violation> {
        let mut client = CheckerServiceClient::new(self.to(0));
        let request = self.world.operator("routing.check", CheckRoutingRequest::default());
        let responses = client.check_routing(request).await.unwrap().into_inner();
        let responses: Vec<CheckRoutingResponse> = responses.try_collect().await.unwrap();
        assert!(!responses.is_empty(), "nothing was checked");
        responses.into_iter().flat_map(|response| response.violations).collect()
    }

    async fn audit(&self, conversations: usize) {
        let conversations = i64::try_from(conversations).unwrap();
        assert_eq!(self.count("select count(*) from conversations where state = 'CLOSED'").await, conversations);
        assert_eq!(self.count("select count(*) from above_limit").await, 0, "above the limit automatically");
        assert_eq!(self.count(WRONG_COUNTS).await, 0, "slots differ from a recount");
        assert_eq!(self.count(WRONG_HISTORIES).await, 0, "two holders, or a lost change");
        assert_eq!(self.violations().await, [], "by the service's own checker");
        assert!(self.count("select count(*) from transitions where cause = 'AUTOMATIC'").await > 0);
        assert!(self.count("select count(*) from transitions where cause = 'TAKEN'").await > 0);
    }
}

async fn listen(world: &World, methods: Methods) -> String {
    let front = methods.into_front(world.admission.clone(), &world.drain).unwrap();
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, front, world.drain.clone(), Duration::ZERO));
    format!("http://{address}")
}

fn free_address() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn way(environment: &[(String, String)], address: SocketAddr) -> Network {
    let env = environment.iter().fold(Env::default(), |env, (name, value)| env.with(name, value));
    Network::remote(&env.with("DIWAN_CONVERSATION_ADDRESS", format!("http://{address}"))).unwrap()
}

fn size(default: usize) -> usize {
    std::env::var("DIWAN_TEST_CONVERSATIONS").ok().and_then(|size| size.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_32_agents_never_exceed_the_limit_nor_hold_one_twice() {
    let conversations = size(10_000);
    let company = Arc::new(Company::open().await);
    let _replicas = [company.start(0).await, company.start(1).await];
    company.stock(conversations).await;
    let took = company.run(conversations).await;
    println!("{conversations} conversations assigned and closed in {took:?}");
    company.audit(conversations).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_again_and_again_loses_nothing_and_leaves_the_counters_right() {
    let conversations = size(800);
    let company = Arc::new(Company::open().await);
    let _stays = company.start(0).await;
    let mut killed = company.start(1).await;
    let kills = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            killed.process.kill().unwrap();
            killed.process.wait().unwrap();
            killed = company.start(1).await;
        }
    };
    let lanes = (0..LANES).map(|lane| company.clone().bring(lane, conversations / LANES));
    tokio::join!(company.run(conversations), futures::future::join_all(lanes), kills);
    company.audit(conversations).await;
    let messages = company.count("select count(*) from messages").await;
    assert_eq!(usize::try_from(messages).unwrap(), conversations);
}
