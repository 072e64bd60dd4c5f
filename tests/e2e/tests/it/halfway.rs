//! Deactivation, reactivation and acceptance survive a kill at each of their steps: seat, sessions, memberships and conversations end
//! up consistent, and a retry gets an answer as if nothing had happened.
//!
//! A process is held at a step by a lock that the test takes in a database, and killed there with SIGKILL. Where it is to die between a
//! commit and its answer, the commit itself is held: see [`Scene::guard_commits`].

mod acceptance;
mod identity;
mod others;
mod suite;

use std::{fs, time::Duration};

use diwan_e2e::{
    door::{Door, Person, request_id},
    inbox::Inbox,
    installation::Topology,
};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AcceptInvitationRequest, DeactivateUserRequest, InviteUserRequest, ReactivateUserRequest, UserState,
        user_service_client::UserServiceClient,
    },
    team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient},
};
use diwan_testkit::eventually;
use sqlx::{AssertSqlSafe, PgPool, PgTransaction};
use tokio::task::JoinHandle;
use tonic::Status;
use uuid::Uuid;

use crate::support::{Fresh, PASSWORD, sign_up, start};

const LIMIT: Duration = Duration::from_mins(1);
/// The process of the topology that has one.
const WHOLE: &str = "diwan";

type Call = JoinHandle<Result<UserState, Status>>;

/// The databases of the services that take part.
struct Databases {
    identity: PgPool,
    billing: PgPool,
    team: PgPool,
    conversation: PgPool,
}

impl Databases {
    async fn open(fresh: &Fresh) -> Self {
        let pool = async |service| PgPool::connect(&fresh.installation.database_url(service).unwrap()).await.unwrap();
        Self {
            identity: pool("identity").await,
            billing: pool("billing").await,
            team: pool("team").await,
            conversation: pool("conversation").await,
        }
    }

    fn of(&self, service: &str) -> &PgPool {
        match service {
            "identity" => &self.identity,
            "billing" => &self.billing,
            "team" => &self.team,
            "conversation" => &self.conversation,
            other => panic!("{other} has no part in this"),
        }
    }
}

/// A moment at which a process is killed.
struct Moment {
    /// What it is about to do.
    step: &'static str,
    /// The process.
    killed: &'static str,
    /// In which service's database something is held.
    database: &'static str,
    /// What the test holds.
    lock: &'static str,
    /// The statement that waits for it.
    waits: &'static str,
}

const fn at(
    killed: &'static str,
    database: &'static str,
    step: &'static str,
    lock: &'static str,
    waits: &'static str,
) -> Moment {
    Moment { step, killed, database, lock, waits }
}

/// Holds every commit that changes a seat, see [`Scene::guard_commits`].
const SEAT_COMMITS: &str = "select pg_advisory_xact_lock(hashtext('seats'))";
/// Holds every commit that changes what team knows of a user's state.
const STATE_COMMITS: &str = "select pg_advisory_xact_lock(hashtext('user_states'))";
/// Holds every commit that changes a membership.
const MEMBERSHIP_COMMITS: &str = "select pg_advisory_xact_lock(hashtext('memberships'))";
/// Holds whoever changes the agent's seat.
const SEAT: &str = "select from seats where user_id = $agent for update";
/// Holds whoever gives an account's seats away.
const SEATS: &str = "select from subscriptions for update";
/// Holds whoever tells of a change.
const TOLD: &str = "lock table feed_events in share mode";
/// Holds whoever makes somebody a member for the first time.
const MEMBERS: &str = "lock table members in share mode";
/// Holds whoever leaves something to be done later.
const JOBS: &str = "lock table jobs in share mode";

/// An account with a person whose standing changes.
struct Scene {
    fresh: Fresh,
    owner: Person,
    email: String,
    agent: Uuid,
    team: String,
    databases: Databases,
}

impl Scene {
    /// With somebody who is invited.
    async fn new(topology: Topology) -> Self {
        let fresh = start(topology, &[]).await;
        let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Halfway").await;
        let teams = TeamServiceClient::new(owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
        let team = teams.into_inner().teams[0].id.clone();
        let databases = Databases::open(&fresh).await;
        let mut scene = Self { fresh, owner, email: String::new(), agent: Uuid::nil(), team, databases };
        for (database, table) in [("billing", "seats"), ("team", "user_states"), ("team", "memberships")] {
            scene.guard_commits(database, table).await;
        }
        scene.invite().await;
        scene
    }

    /// With an agent.
    async fn with_agent(topology: Topology) -> Self {
        let scene = Self::new(topology).await;
        assert_eq!(scene.accept().await.unwrap().unwrap(), UserState::Active);
        scene.is_active("at the beginning").await;
        scene
    }

    /// Invites one more person, whom everything is about from now on. The mail that invites him is there: what is held later may hold up
    /// what brings it.
    async fn invite(&mut self) {
        self.email = format!("{}@tests.example", request_id());
        let invite = InviteUserRequest {
            request_id: request_id(),
            name: "Bruno Costa".into(),
            email: self.email.clone(),
            role: Role::User.into(),
            team_ids: vec![self.team.clone()],
            ..InviteUserRequest::default()
        };
        let invited = UserServiceClient::new(self.owner.way()).invite_user(invite).await.unwrap().into_inner();
        self.agent = invited.user.unwrap().id.parse().unwrap();
        eventually("the invitation arrives", LIMIT, async || self.invitation()).await;
    }

    /// He accepts, without waiting for the answer.
    fn accept(&self) -> Call {
        let token = self.invitation().unwrap();
        let request = AcceptInvitationRequest { token, password: PASSWORD.into() };
        let mut client = UserServiceClient::new(self.owner.door.way());
        tokio::spawn(async move { Ok(client.accept_invitation(request).await?.into_inner().user.unwrap().state()) })
    }

    fn invitation(&self) -> Option<String> {
        let folder = self.fresh.installation.keys().with_file_name("mail-out");
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read(file.path()).ok()).find_map(|raw| {
            let mail = mail_parser::MessageParser::default().parse(&raw)?;
            mail.to()?.first()?.address().filter(|to| *to == self.email)?;
            let text = mail.body_text(0)?.into_owned();
            let (_, rest) = text.split_once("/invitations/")?;
            Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
        })
    }

    /// The agent signs in, opens his inbox and is given a conversation.
    async fn at_work(&self) -> Inbox {
        let inbox = self.present().await;
        self.fresh.ingest(&self.owner.user.account_id, &self.team, "Where is my order?".into()).await;
        eventually("he holds conversations", LIMIT, async || {
            self.count("conversation", "conversations where holder_id = $1 and state = 'OPEN'").await > 0
        })
        .await;
        inbox
    }

    /// The agent signs in and opens his inbox.
    async fn present(&self) -> Inbox {
        let door = Door::open(self.fresh.installation.gateway()).await.unwrap();
        let person = eventually("he signs in", LIMIT, async || door.sign_in(&self.email, PASSWORD).await.ok()).await;
        eventually("his inbox opens", LIMIT, async || Inbox::open(&person).await.ok()).await.0
    }

    async fn count(&self, service: &str, what: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {what}"))).bind(self.agent);
        query.fetch_one(self.databases.of(service)).await.unwrap()
    }

    /// Makes commits that change `table` wait for the advisory lock of its name. The process that has asked for one can be killed then,
    /// and the commit comes about all the same: PostgreSQL does not look for its client while it commits.
    async fn guard_commits(&self, database: &str, table: &str) {
        let guard = format!(
            "create or replace function guard_commit() returns trigger language plpgsql as
                 $$ begin perform pg_advisory_xact_lock_shared(hashtext(tg_table_name)); return null; end $$;
             create constraint trigger guard_commit after insert or update or delete on {table}
                 deferrable initially deferred for each row execute function guard_commit();"
        );
        sqlx::raw_sql(AssertSqlSafe(guard)).execute(self.databases.of(database)).await.unwrap();
    }

    /// Opens a transaction that holds what `statement` locks.
    async fn hold(&self, database: &str, statement: &str) -> PgTransaction<'static> {
        let mut gate = self.databases.of(database).begin().await.unwrap();
        let patient = "set local idle_in_transaction_session_timeout = 0";
        for statement in [patient, &statement.replace("$agent", &format!("'{}'", self.agent))] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *gate).await.unwrap();
        }
        gate
    }

    /// Waits until a process of Diwan waits for what `gate` holds, with a statement like this.
    async fn stands_at(&self, database: &str, gate: &mut PgTransaction<'static>, statement: &str) {
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **gate).await.unwrap();
        eventually("the step is reached", LIMIT, async || {
            let waits = "select exists (select from pg_stat_activity
                                        where $1 = any (pg_blocking_pids(pid)) and query ilike $2)";
            let waits = sqlx::query_scalar::<_, bool>(waits).bind(pid).bind(statement);
            waits.fetch_one(self.databases.of(database)).await.unwrap()
        })
        .await;
    }

    /// Kills a process at a moment of what `begin` begins, and starts it again. Returns what was answered.
    async fn killed_at(&mut self, moment: &Moment, begin: impl FnOnce(&Self) -> Call) -> Result<UserState, Status> {
        let mut gate = self.hold(moment.database, moment.lock).await;
        let call = begin(self);
        self.stands_at(moment.database, &mut gate, moment.waits).await;
        self.crash(moment.killed).await;
        // With the whole its PostgreSQL ends, and the gate with it.
        let _ = gate.rollback().await;
        let answer = call.await.unwrap();
        self.again(moment.killed).await;
        answer
    }

    /// Deactivates the agent, without waiting for the answer.
    fn deactivate(&self, id: &str) -> Call {
        let request = DeactivateUserRequest { request_id: id.into(), user_id: self.agent.to_string() };
        let mut client = UserServiceClient::new(self.owner.way());
        tokio::spawn(async move { Ok(client.deactivate_user(request).await?.into_inner().user.unwrap().state()) })
    }

    /// Reactivates him, without waiting for the answer.
    fn reactivate(&self, id: &str) -> Call {
        let request = ReactivateUserRequest { request_id: id.into(), user_id: self.agent.to_string() };
        let mut client = UserServiceClient::new(self.owner.way());
        tokio::spawn(async move { Ok(client.reactivate_user(request).await?.into_inner().user.unwrap().state()) })
    }

    /// Tries until an answer comes: a service that has just been started may not be reached at once.
    async fn until_answered(&self, call: impl Fn() -> Call) -> UserState {
        eventually("the retry is answered", LIMIT, async || call().await.unwrap().ok()).await
    }

    async fn crash(&mut self, process: &str) {
        self.fresh.installation.crash(process).await.unwrap();
    }

    /// Starts a process again; what was due to be looked at later is looked at now.
    async fn again(&mut self, process: &'static str) {
        self.fresh.installation.again(process).await.unwrap();
        if process == WHOLE {
            self.databases = Databases::open(&self.fresh).await;
        }
        sqlx::query("update jobs set next_attempt_at = now()").execute(&self.databases.identity).await.unwrap();
        // His token is good for five minutes, and a busy machine is slow.
        let door = Door::open(self.fresh.installation.gateway()).await.unwrap();
        let signed_in = async || door.sign_in(&self.owner.user.email, PASSWORD).await.ok();
        self.owner = eventually("the owner signs in", LIMIT, signed_in).await;
    }

    async fn is_deactivated(&self, step: &str) {
        eventually(step, LIMIT, async || {
            self.count("identity", "users where id = $1 and state = 'USER_STATE_DEACTIVATED'").await == 1
                && self.count("identity", "sessions where user_id = $1 and ended_at is null").await == 0
                && self.seat_is_settled().await
                && self.count("billing", "seats where user_id = $1").await == 0
                && self.count("team", "user_states where user_id = $1 and deactivated").await == 1
                && self.count("conversation", "conversations where holder_id = $1").await == 0
                && self.count("conversation", "slots where user_id = $1 and open_count <> 0").await == 0
                && self.count("conversation", "presence where user_id = $1 and state <> 'OFFLINE'").await == 0
                && self.count("conversation", "users where id = $1 and not active").await == 1
        })
        .await;
        assert_eq!(self.count("team", "memberships where user_id = $1 and left_at is null").await, 1, "{step}");
    }

    async fn is_active(&self, step: &str) {
        eventually(step, LIMIT, async || {
            self.count("identity", "users where id = $1 and state = 'USER_STATE_ACTIVE'").await == 1
                && self.seat_is_settled().await
                && self.count("billing", "seats where user_id = $1 and lease_expires_at is null").await == 1
                && self.count("team", "memberships where user_id = $1 and left_at is null").await == 1
                && self.count("team", "user_states where user_id = $1 and not deactivated").await == 1
                && self.count("conversation", "users where id = $1 and active").await == 1
                && self.count("conversation", "slots where user_id = $1 and member").await == 1
        })
        .await;
    }

    async fn seat_is_settled(&self) -> bool {
        self.count("identity", "jobs where kind in ('SettleSeat', 'JoinTeams') and $1::uuid is not null").await == 0
    }

    async fn is_back(&self, step: &str) {
        let id = request_id();
        assert_eq!(self.until_answered(|| self.reactivate(&id)).await, UserState::Active, "{step}");
        self.is_active(step).await;
    }

    async fn is_gone(&self, step: &str) {
        let id = request_id();
        assert_eq!(self.until_answered(|| self.deactivate(&id)).await, UserState::Deactivated, "{step}");
        self.is_deactivated(step).await;
    }
}
