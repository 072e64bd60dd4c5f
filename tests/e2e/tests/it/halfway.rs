//! Deactivation and reactivation survive a kill at each of their steps: seat, sessions, memberships and conversations end up
//! consistent, and a retry gets an answer as if nothing had happened.
//!
//! A process is held at a step by a lock that the test takes in its database, and killed there with SIGKILL.

use std::{fs, time::Duration};

use diwan_access::Signer;
use diwan_e2e::{
    door::{Door, Person, request_id},
    inbox::Inbox,
    installation::Topology,
};
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{IngestMessageRequest, ingest_service_client::IngestServiceClient},
    identity::v1::{
        AcceptInvitationRequest, DeactivateUserRequest, InviteUserRequest, ReactivateUserRequest, UserState,
        user_service_client::UserServiceClient,
    },
    team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient},
};
use diwan_runtime::SystemClock;
use diwan_testkit::eventually;
use sqlx::{AssertSqlSafe, PgPool, PgTransaction};
use tokio::task::JoinHandle;
use tonic::{Request, Status, transport::Endpoint};
use uuid::Uuid;

use crate::support::{Fresh, PASSWORD, sign_up, start};

const LIMIT: Duration = Duration::from_mins(1);

/// An account whose one agent holds a conversation.
struct Scene {
    fresh: Fresh,
    owner: Person,
    email: String,
    agent: Uuid,
    team: String,
    identity: PgPool,
    billing: PgPool,
    teams: PgPool,
    conversation: PgPool,
}

impl Scene {
    async fn new() -> Self {
        let fresh = start(Topology::Separate, &[]).await;
        let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Halfway").await;
        let teams = TeamServiceClient::new(owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
        let team = teams.into_inner().teams[0].id.clone();
        let email = format!("{}@tests.example", request_id());
        let invite = InviteUserRequest {
            request_id: request_id(),
            name: "Bruno Costa".into(),
            email: email.clone(),
            role: Role::User.into(),
            team_ids: vec![team.clone()],
            ..InviteUserRequest::default()
        };
        let invited = UserServiceClient::new(owner.way()).invite_user(invite).await.unwrap().into_inner().user.unwrap();
        let pool = async |service| PgPool::connect(&fresh.installation.database_url(service).unwrap()).await.unwrap();
        let (identity, billing) = (pool("identity").await, pool("billing").await);
        let (teams, conversation) = (pool("team").await, pool("conversation").await);
        let agent = invited.id.parse().unwrap();
        let scene = Self { fresh, owner, email, agent, team, identity, billing, teams, conversation };
        scene.accept().await;
        scene.is_active("at the beginning").await;
        scene
    }

    async fn accept(&self) {
        let folder = self.fresh.installation.keys().with_file_name("mail-out");
        let token = eventually("the invitation arrives", LIMIT, async || {
            let files = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mails = files.filter_map(|file| fs::read(file.path()).ok());
            mails.into_iter().find_map(|raw| {
                let mail = mail_parser::MessageParser::default().parse(&raw)?;
                let text = mail.body_text(0)?.into_owned();
                let (_, rest) = text.split_once("/invitations/")?;
                Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect::<String>())
            })
        })
        .await;
        let request = AcceptInvitationRequest { token, password: PASSWORD.into() };
        UserServiceClient::new(self.owner.door.way()).accept_invitation(request).await.unwrap();
    }

    /// The agent signs in, opens his inbox and is given a conversation.
    async fn at_work(&self) -> Inbox {
        let door = Door::open(self.fresh.installation.gateway()).await.unwrap();
        let person = eventually("he signs in", LIMIT, async || door.sign_in(&self.email, PASSWORD).await.ok()).await;
        let (inbox, _) = eventually("his inbox opens", LIMIT, async || Inbox::open(&person).await.ok()).await;
        let signer = Signer::load(&self.fresh.installation.keys(), "mailbox", SystemClock::shared()).unwrap();
        let mut request = Request::new(IngestMessageRequest {
            account_id: self.owner.user.account_id.clone(),
            message_id: request_id(),
            mailbox_id: request_id(),
            mailbox_address: "support@halfway.example".into(),
            team_id: self.team.clone(),
            from_email: format!("{}@customer.example", request_id()),
            text: "Where is my order?".into(),
            received_at: Some(std::time::SystemTime::UNIX_EPOCH.into()),
            ..IngestMessageRequest::default()
        });
        let token = signer.service_token("conversation").unwrap().to_str().unwrap().to_owned();
        request.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
        let address = self.fresh.installation.address("conversation").unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        IngestServiceClient::new(channel).ingest_message(request).await.unwrap();
        eventually("he holds conversations", LIMIT, async || {
            self.count(&self.conversation, "conversations where holder_id = $1 and state = 'OPEN'").await > 0
        })
        .await;
        inbox
    }

    async fn count(&self, pool: &PgPool, what: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {what}"))).bind(self.agent);
        query.fetch_one(pool).await.unwrap()
    }

    /// Opens a transaction that holds what `statement` locks.
    async fn hold(&self, pool: &PgPool, statement: &str) -> PgTransaction<'static> {
        let mut gate = pool.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(statement.replace("$agent", &format!("'{}'", self.agent))))
            .execute(&mut *gate)
            .await
            .unwrap();
        gate
    }

    /// Waits until a process of Diwan waits for what `gate` holds.
    async fn stands_at(&self, pool: &PgPool, gate: &mut PgTransaction<'static>) {
        self.stands_with(pool, gate, "%").await;
    }

    /// The same, with a statement like this.
    async fn stands_with(&self, pool: &PgPool, gate: &mut PgTransaction<'static>, statement: &str) {
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **gate).await.unwrap();
        eventually("the step is reached", LIMIT, async || {
            let waits = "select exists (select from pg_stat_activity
                                        where $1 = any (pg_blocking_pids(pid)) and query ilike $2)";
            sqlx::query_scalar::<_, bool>(waits).bind(pid).bind(statement).fetch_one(pool).await.unwrap()
        })
        .await;
    }

    /// Deactivates the agent, without waiting for the answer.
    fn deactivate(&self, id: &str) -> JoinHandle<Result<UserState, Status>> {
        let request = DeactivateUserRequest { request_id: id.into(), user_id: self.agent.to_string() };
        let mut client = UserServiceClient::new(self.owner.way());
        tokio::spawn(async move { Ok(client.deactivate_user(request).await?.into_inner().user.unwrap().state()) })
    }

    /// Reactivates him, without waiting for the answer.
    fn reactivate(&self, id: &str) -> JoinHandle<Result<UserState, Status>> {
        let request = ReactivateUserRequest { request_id: id.into(), user_id: self.agent.to_string() };
        let mut client = UserServiceClient::new(self.owner.way());
        tokio::spawn(async move { Ok(client.reactivate_user(request).await?.into_inner().user.unwrap().state()) })
    }

    /// Tries until an answer comes: a service that has just been started may not be reached at once.
    async fn until_answered(&self, call: impl Fn() -> JoinHandle<Result<UserState, Status>>) -> UserState {
        eventually("the retry is answered", LIMIT, async || call().await.unwrap().ok()).await
    }

    async fn crash(&mut self, service: &str) {
        self.fresh.installation.crash(service).await.unwrap();
    }

    /// Starts a service again; what was due to be looked at later is looked at now.
    async fn again(&mut self, service: &'static str) {
        self.fresh.installation.again(service).await.unwrap();
        sqlx::query("update jobs set next_attempt_at = now()").execute(&self.identity).await.unwrap();
    }

    async fn is_deactivated(&self, step: &str) {
        eventually(step, LIMIT, async || {
            self.count(&self.identity, "users where id = $1 and state = 'USER_STATE_DEACTIVATED'").await == 1
                && self.count(&self.identity, "sessions where user_id = $1 and ended_at is null").await == 0
                && self.count(&self.identity, "jobs where kind = 'SettleSeat' and $1::uuid is not null").await == 0
                && self.count(&self.billing, "seats where user_id = $1").await == 0
                && self.count(&self.conversation, "conversations where holder_id = $1").await == 0
                && self.count(&self.conversation, "slots where user_id = $1 and open_count <> 0").await == 0
                && self.count(&self.conversation, "presence where user_id = $1 and state <> 'OFFLINE'").await == 0
                && self.count(&self.conversation, "users where id = $1 and not active").await == 1
        })
        .await;
        assert_eq!(self.count(&self.teams, "memberships where user_id = $1 and left_at is null").await, 1, "{step}");
    }

    async fn is_active(&self, step: &str) {
        eventually(step, LIMIT, async || {
            self.count(&self.identity, "users where id = $1 and state = 'USER_STATE_ACTIVE'").await == 1
                && self.count(&self.identity, "jobs where kind = 'SettleSeat' and $1::uuid is not null").await == 0
                && self.count(&self.billing, "seats where user_id = $1 and lease_expires_at is null").await == 1
                && self.count(&self.teams, "memberships where user_id = $1 and left_at is null").await == 1
                && self.count(&self.conversation, "users where id = $1 and active").await == 1
        })
        .await;
    }

    async fn is_back(&self, step: &str) {
        let id = request_id();
        assert_eq!(self.until_answered(|| self.reactivate(&id)).await, UserState::Active, "{step}");
        self.is_active(step).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_killed_at_any_step_is_whole_in_the_end() {
    let mut scene = Scene::new().await;

    let step = "identity is killed before its commit: nothing has happened";
    let inbox = scene.at_work().await;
    let (id, mut gate) = (request_id(), scene.hold(&scene.identity, "lock table jobs in share mode").await);
    let call = scene.deactivate(&id);
    scene.stands_with(&scene.identity, &mut gate, "insert into jobs%").await;
    scene.crash("identity").await;
    gate.rollback().await.unwrap();
    assert!(call.await.unwrap().is_err(), "{step}");
    scene.again("identity").await;
    scene.is_active(step).await;
    assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{step}");
    scene.is_deactivated(step).await;
    drop(inbox);
    scene.is_back(step).await;

    let step = "identity is killed after its commit, before the seat is free";
    let _inbox = scene.at_work().await;
    let id = request_id();
    let mut gate = scene.hold(&scene.billing, "select from seats where user_id = $agent for update").await;
    let call = scene.deactivate(&id);
    scene.stands_at(&scene.billing, &mut gate).await;
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    gate.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{step}");
    scene.is_back(step).await;

    let step = "identity is killed when the seat is free and the job is not put away";
    let _inbox = scene.at_work().await;
    let mut gate = scene.hold(&scene.billing, "select from seats where user_id = $agent for update").await;
    let call = scene.deactivate(&request_id());
    scene.stands_at(&scene.billing, &mut gate).await;
    let mut job = scene.hold(&scene.identity, "select from jobs where kind = 'SettleSeat' for update").await;
    gate.rollback().await.unwrap();
    scene.stands_at(&scene.identity, &mut job).await;
    assert_eq!(scene.count(&scene.billing, "seats where user_id = $1").await, 0, "{step}");
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    job.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    scene.is_back(step).await;

    let step = "billing is killed while it frees the seat";
    let _inbox = scene.at_work().await;
    let mut gate = scene.hold(&scene.billing, "select from seats where user_id = $agent for update").await;
    let call = scene.deactivate(&request_id());
    scene.stands_at(&scene.billing, &mut gate).await;
    scene.crash("billing").await;
    gate.rollback().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap(), UserState::Deactivated, "{step}: the change has happened");
    scene.again("billing").await;
    scene.is_deactivated(step).await;
    scene.is_back(step).await;

    let step = "conversation is killed while it takes his conversations away";
    let _inbox = scene.at_work().await;
    // Without a transaction number of its own, which would hold the feed back.
    let mut gate = scene.hold(&scene.conversation, "lock table conversations in share mode").await;
    assert_eq!(scene.deactivate(&request_id()).await.unwrap().unwrap(), UserState::Deactivated);
    scene.stands_with(&scene.conversation, &mut gate, "%state = 'QUEUED', holder_id = null%").await;
    scene.crash("conversation").await;
    gate.rollback().await.unwrap();
    scene.again("conversation").await;
    scene.is_deactivated(step).await;
    assert_eq!(
        scene.count(&scene.conversation, "conversations where state = 'QUEUED' and $1::uuid is not null").await,
        scene.count(&scene.conversation, "conversations where $1::uuid is not null").await,
        "each is in the queue"
    );
    scene.fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reactivation_killed_at_any_step_leaves_a_seat_only_to_whom_it_gave_access() {
    let mut scene = Scene::new().await;
    let gone = async |scene: &Scene, step: &str| {
        let id = request_id();
        assert_eq!(scene.until_answered(|| scene.deactivate(&id)).await, UserState::Deactivated, "{step}");
        scene.is_deactivated(step).await;
    };

    let step = "identity is killed before the seat is taken";
    gone(&scene, step).await;
    let (id, mut gate) = (request_id(), scene.hold(&scene.billing, "lock table seats in share mode").await);
    let call = scene.reactivate(&id);
    scene.stands_at(&scene.billing, &mut gate).await;
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    gate.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
    scene.is_active(step).await;

    let step = "identity is killed when the seat is taken and he is not back yet";
    gone(&scene, step).await;
    let id = request_id();
    let mut gate = scene.hold(&scene.identity, "select from users where id = $agent for update").await;
    let call = scene.reactivate(&id);
    scene.stands_at(&scene.identity, &mut gate).await;
    assert_eq!(scene.count(&scene.billing, "seats where user_id = $1").await, 1, "{step}");
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    gate.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_deactivated(step).await;
    assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
    scene.is_active(step).await;

    let step = "identity is killed when he is back and the job is not put away";
    gone(&scene, step).await;
    let id = request_id();
    let mut gate = scene.hold(&scene.identity, "select from users where id = $agent for update").await;
    let call = scene.reactivate(&id);
    scene.stands_at(&scene.identity, &mut gate).await;
    let mut job = scene.hold(&scene.identity, "select from jobs where kind = 'SettleSeat' for update").await;
    gate.rollback().await.unwrap();
    scene.stands_at(&scene.identity, &mut job).await;
    scene.crash("identity").await;
    assert!(call.await.unwrap().is_err(), "{step}");
    job.rollback().await.unwrap();
    scene.again("identity").await;
    scene.is_active(step).await;
    assert_eq!(scene.until_answered(|| scene.reactivate(&id)).await, UserState::Active, "{step}");
    scene.fresh.installation.stop().await.unwrap();
}
