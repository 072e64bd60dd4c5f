//! One account with teams and people, on the service with its neighbours faked.

use std::{sync::Arc, time::Duration};

use diwan_launch::Component as _;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        AvailabilityState, CloseConversationRequest, Conversation, ConversationState, GetConversationRequest,
        IngestMessageRequest, ListAvailabilityRequest, ListConversationsRequest, ListMessagesRequest,
        ListTransitionsRequest, Message, ReplyRequest, TakeConversationRequest, TakeConversationResponse, Transition,
        WatchInboxRequest, WatchInboxResponse, conversation_service_client::ConversationServiceClient,
        inbox_service_client::InboxServiceClient, ingest_service_client::IngestServiceClient,
        watch_inbox_response::Event as Shown,
    },
    identity::v1::{User, UserChanged, UserState},
    team::v1::{Membership, MembershipChanged, Team, TeamChanged, VisibilityLevel},
};
use diwan_runtime::{Env, MockClock, SystemClock, ids};
use diwan_testkit::{FakeFeed, Person, TestDatabase, World, eventually};
use diwan_transport::Transport;
use sqlx::PgPool;
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::fakes::FakeMailbox;

pub const LIMIT: Duration = Duration::from_secs(30);
pub const GRACE: Duration = Duration::from_millis(300);
pub const ADDRESS: &str = "support@shop.example";

pub struct Office {
    pub world: World,
    pub database: TestDatabase,
    pub teams: FakeFeed,
    pub users: FakeFeed,
    pub mailbox: FakeMailbox,
    pub owner: Person,
    pub team: Uuid,
    pub mailbox_id: Uuid,
}

impl Office {
    /// One team, the fallback, with this limit (0: none).
    pub async fn open(limit: i32) -> Self {
        Self::open_in(World::new(SystemClock::shared()), limit, (GRACE, Duration::from_millis(600))).await
    }

    /// The same by a clock that the test moves. Nobody is lost for weeks of it, whatever becomes of his streams.
    pub async fn open_at(clock: &MockClock, limit: i32) -> Self {
        let long = Duration::from_hours(24 * 60);
        Self::open_in(World::new(Arc::new(clock.clone())), limit, (long, long)).await
    }

    async fn open_in(world: World, limit: i32, (grace, lease): (Duration, Duration)) -> Self {
        let (teams, users, mailbox) = (FakeFeed::default(), FakeFeed::default(), FakeMailbox::default());
        let methods = [
            ("team", teams.methods("team").await),
            ("identity", users.methods("identity").await),
            ("mailbox", mailbox.methods().await),
        ];
        for (name, methods) in methods {
            let front = methods.into_front(world.admission.clone(), &world.drain).unwrap();
            world.network.slot(name).unwrap().fill(front);
        }
        let database = TestDatabase::new(&diwan_conversation::MIGRATOR).await;
        let env = Env::default()
            .with("DIWAN_CONVERSATION_DATABASE_URL", &database.url)
            .with("DIWAN_CONVERSATION_GRACE_MS", grace.as_millis().to_string())
            .with("DIWAN_CONVERSATION_LEASE_MS", lease.as_millis().to_string())
            .with("DIWAN_CONVERSATION_HEARTBEAT_MS", lease.as_millis().to_string())
            .with("DIWAN_CONVERSATION_BACKGROUND_MS", (100 * lease.as_millis()).to_string());
        let front = diwan_conversation::Service.start(world.context("conversation", env)).await.unwrap();
        world.network.slot("conversation").unwrap().fill(front);
        let (owner, team, mailbox_id) = (Person::owner(), ids::new_id(), ids::new_id());
        let office = Self { world, database, teams, users, mailbox, owner, team, mailbox_id };
        office.set_user(&office.owner, 1, UserState::Active);
        office.set_team(team, 1, |team| {
            team.assignment_limit = limit;
            team.fallback = true;
        });
        office.until("select count(*) from teams", 1).await;
        office
    }

    pub fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    /// Waits until a query counts `expected`.
    pub async fn until(&self, query: &'static str, expected: i64) {
        eventually(query, LIMIT, async || self.count(query).await == expected).await;
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.pool()).await.unwrap()
    }

    pub fn set_team(&self, id: Uuid, version: i64, change: impl FnOnce(&mut Team)) {
        let mut team = Team {
            id: id.to_string(),
            account_id: self.owner.account.to_string(),
            name: id.to_string(),
            visibility_level: VisibilityLevel::Default.into(),
            version,
            ..Default::default()
        };
        change(&mut team);
        self.teams.write(self.owner.account, id, version, &TeamChanged { team: Some(team) });
    }

    pub fn set_user(&self, person: &Person, version: i64, state: UserState) {
        let user = User {
            id: person.user.to_string(),
            account_id: person.account.to_string(),
            role: person.role.into(),
            state: state.into(),
            version,
            ..Default::default()
        };
        self.users.write(person.account, person.user, version, &UserChanged { user: Some(user) });
    }

    pub fn set_member(&self, person: &Person, team: Uuid, version: i64, member: bool) {
        let membership =
            Membership { team_id: team.to_string(), user_id: person.user.to_string(), ..Default::default() };
        let changed = MembershipChanged { membership: Some(membership), member };
        self.teams.write(person.account, ids::new_id(), version, &changed);
    }

    /// A new user who belongs to the team, known to the service.
    pub async fn agent(&self) -> Person {
        self.agent_of(self.team).await
    }

    pub async fn agent_of(&self, team: Uuid) -> Person {
        let person = self.owner.colleague(Role::User);
        self.set_user(&person, 1, UserState::Active);
        self.set_member(&person, team, 1, true);
        eventually("the member is known", LIMIT, async || {
            sqlx::query_scalar::<_, bool>(
                "select exists (select from slots where user_id = $1 and member)
                    and exists (select from users where id = $1)",
            )
            .bind(person.user)
            .fetch_one(self.pool())
            .await
            .unwrap()
        })
        .await;
        person
    }

    pub fn conversations(&self) -> ConversationServiceClient<Transport> {
        ConversationServiceClient::new(self.world.to("conversation"))
    }

    pub fn inbox(&self) -> InboxServiceClient<Transport> {
        InboxServiceClient::new(self.world.to("conversation"))
    }

    pub fn ingest(&self) -> IngestServiceClient<Transport> {
        IngestServiceClient::new(self.world.to_as("conversation", "mailbox"))
    }

    /// A mail of a new customer to the team.
    pub fn mail(&self) -> IngestMessageRequest {
        let id = ids::new_id();
        IngestMessageRequest {
            account_id: self.owner.account.to_string(),
            message_id: id.to_string(),
            mailbox_id: self.mailbox_id.to_string(),
            mailbox_address: ADDRESS.into(),
            team_id: self.team.to_string(),
            from_email: format!("{id}@customer.example"),
            from_name: "Maha".into(),
            subject: "Broken lamp".into(),
            text: "It does not light.".into(),
            rfc_message_id: format!("{id}@mail.example"),
            ..Default::default()
        }
    }

    /// Delivers a mail and returns its conversation.
    pub async fn deliver(&self, mail: IngestMessageRequest) -> Uuid {
        let answer = self.ingest().ingest_message(mail).await.unwrap().into_inner();
        answer.conversation_id.parse().unwrap()
    }

    pub async fn arrive(&self) -> Uuid {
        self.deliver(self.mail()).await
    }

    pub async fn get(&self, person: &Person, id: Uuid) -> Result<Conversation, Status> {
        let request = GetConversationRequest { conversation_id: id.to_string() };
        let answer = self.conversations().get_conversation(self.world.request(person, request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    pub async fn list(&self, person: &Person, request: ListConversationsRequest) -> Vec<Conversation> {
        let answer = self.conversations().list_conversations(self.world.request(person, request)).await.unwrap();
        answer.into_inner().conversations
    }

    pub async fn messages(&self, person: &Person, id: Uuid) -> Vec<Message> {
        let request = ListMessagesRequest { conversation_id: id.to_string(), page: None };
        let answer = self.conversations().list_messages(self.world.request(person, request)).await.unwrap();
        answer.into_inner().messages
    }

    pub async fn transitions(&self, id: Uuid) -> Vec<Transition> {
        let request = ListTransitionsRequest { conversation_id: id.to_string(), page: None };
        let answer = self.conversations().list_transitions(self.world.request(&self.owner, request)).await.unwrap();
        answer.into_inner().transitions
    }

    pub async fn take(&self, person: &Person, id: Uuid) -> Result<TakeConversationResponse, Status> {
        let request =
            TakeConversationRequest { request_id: ids::new_id().to_string(), conversation_id: id.to_string() };
        Ok(self.conversations().take_conversation(self.world.request(person, request)).await?.into_inner())
    }

    pub async fn close(&self, person: &Person, id: Uuid) -> Result<Conversation, Status> {
        let request =
            CloseConversationRequest { request_id: ids::new_id().to_string(), conversation_id: id.to_string() };
        let answer = self.conversations().close_conversation(self.world.request(person, request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    pub async fn reply(&self, person: &Person, id: Uuid, text: &str) -> Result<Message, Status> {
        let request = ReplyRequest {
            request_id: ids::new_id().to_string(),
            conversation_id: id.to_string(),
            text: text.to_owned(),
        };
        Ok(self.conversations().reply(self.world.request(person, request)).await?.into_inner().message.unwrap())
    }

    /// Opens an inbox and reads its first response.
    pub async fn watch(&self, person: &Person) -> Inbox {
        let mut inbox = self.watch_from(person, "").await.unwrap();
        let ready = inbox.next().await;
        assert!(matches!(ready, Shown::Ready(_)), "{ready:?}");
        inbox
    }

    pub async fn watch_from(&self, person: &Person, cursor: &str) -> Result<Inbox, Status> {
        let request = self.world.request(person, WatchInboxRequest { cursor: cursor.to_owned() });
        Ok(Inbox { stream: self.inbox().watch_inbox(request).await?.into_inner(), cursor: String::new() })
    }

    pub async fn availability(&self, person: &Person) -> AvailabilityState {
        let request = self.world.request(&self.owner, ListAvailabilityRequest {});
        let listed = self.inbox().list_availability(request).await.unwrap().into_inner().availabilities;
        let own = listed.into_iter().find(|availability| availability.user_id == person.user.to_string());
        own.map_or(AvailabilityState::Offline, |availability| availability.state())
    }

    /// Waits until a conversation is held by `person`.
    pub async fn held_by(&self, person: &Person, id: Uuid) {
        let holder = person.user.to_string();
        eventually("the conversation has this holder", LIMIT, async || {
            let found = self.get(&self.owner, id).await.unwrap();
            found.state() == ConversationState::Open && found.holder_id == holder
        })
        .await;
    }

    /// Fails unless every counter equals a recount and every conversation has a valid history.
    pub async fn audit(&self) {
        assert_eq!(self.count(WRONG_COUNTS).await, 0, "slots differ from a recount");
        assert_eq!(self.count(WRONG_HISTORIES).await, 0, "conversations differ from their transitions");
    }
}

pub const WRONG_COUNTS: &str = "select count(*) from slots s where open_count <> (select count(*) from conversations c
    where c.account_id = s.account_id and c.team_id = s.team_id and c.holder_id = s.user_id and c.state = 'OPEN')";

/// Each transition begins where the one before it ended, and the last one leads to what is stored.
pub const WRONG_HISTORIES: &str = "select count(*) from (
    select t.*, lag(to_state) over history as state, lag(to_holder_id) over history as holder,
           lead(version) over history as later
    from transitions t window history as (partition by account_id, conversation_id order by version)) t
    join conversations c on c.account_id = t.account_id and c.id = t.conversation_id
    where (t.from_state, t.from_holder_id) is distinct from (t.state, t.holder)
       or (t.later is null and (t.to_state, t.to_holder_id) is distinct from (c.state, c.holder_id))";

/// An open stream.
pub struct Inbox {
    stream: Streaming<WatchInboxResponse>,
    /// Of the last response.
    pub cursor: String,
}

impl Inbox {
    pub async fn try_next(&mut self) -> Result<Shown, Status> {
        let response = tokio::time::timeout(LIMIT, self.stream.message()).await.expect("a response in time")?;
        let response = response.ok_or_else(|| Status::unknown("the stream ended"))?;
        self.cursor = response.cursor;
        Ok(response.event.unwrap())
    }

    pub async fn next(&mut self) -> Shown {
        self.try_next().await.unwrap()
    }

    /// The next change of a conversation, passing over everything else.
    pub async fn change(&mut self) -> Conversation {
        loop {
            if let Shown::Changed(changed) = self.next().await {
                return changed.conversation.unwrap();
            }
        }
    }
}
