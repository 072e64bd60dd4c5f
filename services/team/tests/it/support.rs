//! Two replicas of team on one database, and who calls them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_proto::{
    common::v1::PageRequest,
    feed::v1::{Event, WatchEventsRequest, feed_service_client::FeedServiceClient},
    identity::v1::{User, UserChanged, UserState},
    team::v1::{
        AddMemberRequest, CreateFallbackTeamRequest, CreateTeamRequest, JoinTeamsRequest, ListMembersRequest,
        ListTeamsRequest, Membership, MembershipChanged, RemoveMemberRequest, Team, TeamChanged, UpdateTeamRequest,
        membership_service_client::MembershipServiceClient, team_service_client::TeamServiceClient,
    },
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::{FakeFeed, Person, TestDatabase, World, eventually};
use diwan_transport::Transport;
use jiff::Timestamp;
use prost::{Message, Name};
use sqlx::{AssertSqlSafe, PgTransaction};
use tonic::{Request, Status};
use uuid::Uuid;

pub struct Teams {
    pub clock: MockClock,
    pub owner: Person,
    /// What identity says.
    pub identity: FakeFeed,
    pub worlds: [World; 2],
    pub database: TestDatabase,
}

impl Teams {
    /// Without any team.
    pub async fn empty() -> Self {
        let database = TestDatabase::new(&diwan_team::MIGRATOR).await;
        let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
        let worlds = [(); 2].map(|()| World::new(Arc::new(clock.clone())));
        let identity = FakeFeed::default();
        for world in &worlds {
            let front = identity.methods("identity").await.into_front(world.admission.clone(), &world.drain).unwrap();
            world.network.slot("identity").unwrap().fill(front);
            world.start(&diwan_team::Service, &database.url).await;
        }
        Self { clock, owner: Person::owner(), identity, worlds, database }
    }

    /// With the fallback team "General" and the owner in it.
    pub async fn with_fallback() -> (Self, Team) {
        let teams = Self::empty().await;
        let general = teams.ensure_fallback(0, &teams.owner, "en").await.unwrap();
        (teams, general)
    }

    /// Users' way to teams, through one of the replicas.
    pub fn teams(&self, replica: usize) -> TeamServiceClient<Transport> {
        TeamServiceClient::new(self.worlds[replica % 2].to("team"))
    }

    /// Users' way to memberships, through one of the replicas.
    pub fn memberships(&self, replica: usize) -> MembershipServiceClient<Transport> {
        MembershipServiceClient::new(self.worlds[replica % 2].to("team"))
    }

    /// `message` from `person`, for that replica.
    pub fn from<M>(&self, replica: usize, person: &Person, message: M) -> Request<M> {
        self.worlds[replica % 2].request(person, message)
    }

    pub async fn ensure_fallback(&self, replica: usize, owner: &Person, language: &str) -> Result<Team, Status> {
        let message = CreateFallbackTeamRequest {
            account_id: owner.account.to_string(),
            owner_id: owner.user.to_string(),
            language: language.into(),
        };
        let identity = self.worlds[replica % 2].to_as("team", "identity");
        Ok(TeamServiceClient::new(identity).create_fallback_team(message).await?.into_inner().team.unwrap())
    }

    pub async fn create(&self, replica: usize, message: CreateTeamRequest) -> Result<Team, Status> {
        let request = self.from(replica, &self.owner, message);
        Ok(self.teams(replica).create_team(request).await?.into_inner().team.unwrap())
    }

    pub async fn create_named(&self, name: &str) -> Team {
        self.create(0, named(name)).await.unwrap()
    }

    pub async fn update(&self, replica: usize, team: Team, paths: &[&str]) -> Result<Team, Status> {
        let paths = paths.iter().map(ToString::to_string).collect();
        let message = UpdateTeamRequest {
            request_id: ids::new_id().to_string(),
            team: Some(team),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        let request = self.from(replica, &self.owner, message);
        Ok(self.teams(replica).update_team(request).await?.into_inner().team.unwrap())
    }

    /// The names of the active teams, in pages of one.
    pub async fn names(&self) -> Vec<String> {
        let (mut names, mut page) = (Vec::new(), Some(PageRequest { size: 1, token: String::new() }));
        while page.is_some() {
            let request = self.from(0, &self.owner, ListTeamsRequest { page });
            let answer = self.teams(0).list_teams(request).await.unwrap().into_inner();
            names.extend(answer.teams.into_iter().map(|team| team.name));
            let token = answer.page.unwrap().next_token;
            page = (!token.is_empty()).then_some(PageRequest { size: 1, token });
        }
        names
    }

    pub async fn join(&self, replica: usize, user: Uuid, teams: &[&str]) -> Result<Vec<Membership>, Status> {
        let message = JoinTeamsRequest {
            account_id: self.owner.account.to_string(),
            user_id: user.to_string(),
            team_ids: teams.iter().map(ToString::to_string).collect(),
        };
        let identity = self.worlds[replica % 2].to_as("team", "identity");
        Ok(MembershipServiceClient::new(identity).join_teams(message).await?.into_inner().memberships)
    }

    pub async fn add(&self, team: &str, user: Uuid) -> Result<Membership, Status> {
        let (team_id, user_id) = (team.to_owned(), user.to_string());
        let message = AddMemberRequest { request_id: ids::new_id().to_string(), team_id, user_id };
        let request = self.from(0, &self.owner, message);
        Ok(self.memberships(0).add_member(request).await?.into_inner().membership.unwrap())
    }

    pub async fn remove(&self, replica: usize, team: &str, user: Uuid) -> Result<(), Status> {
        let (team_id, user_id) = (team.to_owned(), user.to_string());
        let message = RemoveMemberRequest { request_id: ids::new_id().to_string(), team_id, user_id };
        let request = self.from(replica, &self.owner, message);
        self.memberships(replica).remove_member(request).await.map(drop)
    }

    /// The members of a team, in the order of the list.
    pub async fn members(&self, team: &str) -> Vec<Uuid> {
        let message = ListMembersRequest { team_id: team.to_owned(), page: None };
        let request = self.from(0, &self.owner, message);
        let answer = self.memberships(0).list_members(request).await.unwrap().into_inner();
        answer.memberships.into_iter().map(|membership| membership.user_id.parse().unwrap()).collect()
    }

    /// Archives a team behind the service's back: no method does it yet.
    pub async fn archive(&self, team: &str) {
        let query = sqlx::query("update teams set archived_at = now() where id = $1");
        query.bind(team.parse::<Uuid>().unwrap()).execute(&self.database.pool).await.unwrap();
    }

    /// A transaction of another call, in the middle of it: it has done these statements and has not committed.
    pub async fn in_the_middle_of(&self, statements: String) -> PgTransaction<'static> {
        let mut open = self.database.pool.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *open).await.unwrap();
        open
    }

    /// Lets `first` commit as soon as `second` waits for somebody, or has gone on without.
    pub async fn overtake<T>(&self, first: PgTransaction<'static>, second: impl Future<Output = T>) -> T {
        let gone_on = AtomicBool::default();
        let second = async {
            let answer = second.await;
            gone_on.store(true, Ordering::SeqCst);
            answer
        };
        let overtaken = async {
            eventually("the second one waits, or has not waited", Duration::from_secs(30), async || {
                let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                                and datname = current_database())";
                gone_on.load(Ordering::SeqCst)
                    || sqlx::query_scalar(waits).fetch_one(&self.database.pool).await.unwrap()
            })
            .await;
            first.commit().await.unwrap();
        };
        tokio::join!(second, overtaken).0
    }

    /// Identity says what a user is, and team has heard of it.
    pub async fn tell(&self, user: Uuid, version: i64, state: UserState) {
        let changed = UserChanged { user: Some(User { state: state.into(), version, ..User::default() }) };
        self.identity.write(self.owner.account, user, version, &changed);
        let known = "select count(*) from user_states where user_id = $1 and version = $2";
        eventually("team has heard of it", Duration::from_secs(30), async || {
            let query = sqlx::query_scalar::<_, i64>(known).bind(user).bind(version);
            query.fetch_one(&self.database.pool).await.unwrap() == 1
        })
        .await;
    }

    /// Every event so far, as another service sees the feed.
    pub async fn events(&self) -> Vec<Event> {
        let total: i64 =
            sqlx::query_scalar("select count(*) from feed_events").fetch_one(&self.database.pool).await.unwrap();
        let total = usize::try_from(total).unwrap();
        let mut client = FeedServiceClient::new(self.worlds[1].to_as("team", "conversation"));
        let mut stream = client.watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
        let mut events = Vec::new();
        while events.len() < total {
            let next = tokio::time::timeout(Duration::from_secs(10), stream.message()).await;
            events.extend(next.unwrap().unwrap().unwrap().events);
        }
        events
    }

    /// Every change of a team so far, with the version that its event carries.
    pub async fn team_changes(&self) -> Vec<(i64, Team)> {
        let events = self.events().await;
        events.iter().filter_map(|event| Some((event.entity_version, read::<TeamChanged>(event)?.team?))).collect()
    }

    /// Every change of a membership so far, with the id and version that its event carries.
    pub async fn membership_changes(&self) -> Vec<(String, i64, MembershipChanged)> {
        let events = self.events().await;
        let read = |event: &Event| Some((event.entity_id.clone(), event.entity_version, read(event)?));
        events.iter().filter_map(read).collect()
    }
}

fn read<M: Message + Name + Default>(event: &Event) -> Option<M> {
    event.payload.as_ref().unwrap().to_msg().ok()
}

/// A new team with a name and no other settings.
pub fn named(name: &str) -> CreateTeamRequest {
    CreateTeamRequest { request_id: ids::new_id().to_string(), name: name.into(), ..CreateTeamRequest::default() }
}
