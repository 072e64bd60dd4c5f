//! The installation that is put under load, and everybody in it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use diwan_access::{Signer, keys};
use diwan_e2e::{
    Failure,
    door::{Door, request_id},
    installation::{Installation, Options, Topology, postgres_programs},
};
use diwan_proto::{
    access::v1::Role,
    billing::v1::{SetSeatLimitRequest, subscription_service_client::SubscriptionServiceClient},
    conversation::v1::{CreateTopicRequest, topic_service_client::TopicServiceClient},
    identity::v1::{
        AcceptInvitationRequest, InviteUserRequest, SignUpRequest, account_service_client::AccountServiceClient,
        user_service_client::UserServiceClient,
    },
    team::v1::{CreateTeamRequest, ListTeamsRequest, team_service_client::TeamServiceClient},
};
use diwan_runtime::SystemClock;
use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::{
    Plan, Progress,
    board::Board,
    book::Book,
    bots::Bots,
    call::{As, At, Ended},
    person::{PASSWORD, Person},
    rules::Rules,
    tally::Tally,
};

/// What the clients share.
pub(crate) struct Stage {
    pub(crate) gateway: Channel,
    /// Every replica of the conversation service, at the address that it keeps.
    pub(crate) replicas: Vec<Channel>,
    /// Signs as the mailbox service.
    pub(crate) mailbox: Signer,
    pub(crate) operator: Signer,
    pub(crate) account: String,
    pub(crate) owner: Arc<Person>,
    pub(crate) agents: Vec<Arc<Person>>,
    /// The fallback team first.
    pub(crate) teams: Vec<String>,
    pub(crate) topics: Vec<String>,
    /// Each agent is with one client at a time for what concerns himself: he is not deactivated twice at once.
    pub(crate) staff: Vec<Mutex<()>>,
    bots: OnceLock<Bots>,
    /// The team that is archived now, routing rules that there are, and who was named a lead of which team.
    pub(crate) archived: Mutex<Option<usize>>,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) leads: Mutex<Vec<(usize, usize)>>,
    pub(crate) board: Board,
    pub(crate) book: Book,
    pub(crate) tally: Tally,
    pub(crate) done: AtomicUsize,
    /// Whether the owner's stream stands: from then on it shows everything.
    pub(crate) overseen: AtomicBool,
    pub(crate) kills: AtomicUsize,
    pub(crate) crashes: AtomicUsize,
    pub(crate) over: AtomicBool,
}

/// The processes of it.
pub(crate) struct Processes {
    pub(crate) installation: Installation,
    /// Of each replica its name and address.
    pub(crate) replicas: Vec<(String, SocketAddr)>,
    home: PathBuf,
}

/// Starts Diwan in a folder, with so many replicas of the conversation service.
pub(crate) async fn start(plan: &Plan, home: &Path) -> Result<Processes, Failure> {
    keys::ensure(&home.join("keys"), &keys::ISSUERS)?;
    let options = Options {
        topology: Topology::Separate,
        home: home.to_owned(),
        postgres: postgres_programs()?,
        settings: settings().collect(),
    };
    let mut installation = Installation::start(options).await?;
    let first = installation.address("conversation").ok_or("no conversation service")?;
    let mut replicas = vec![("conversation".to_owned(), first)];
    for number in 1..plan.replicas {
        let name = format!("conversation-{number}");
        let address = installation.replica("conversation", &name, &[], &[])?;
        replicas.push((name, address));
    }
    Ok(Processes { installation, replicas, home: home.to_owned() })
}

/// Nobody is slowed down, and whoever is gone is so after a second.
fn settings() -> impl Iterator<Item = (String, String)> {
    let limits = ["ADDRESS", "USER", "ACCOUNT"].into_iter().flat_map(|scope| {
        ["SIGN_IN", "READ", "WRITE", "STREAM"]
            .map(|class| (format!("DIWAN_GATEWAY_LIMIT_{scope}_{class}"), "10000000/10000000"))
    });
    let others = [
        ("DIWAN_LOG", "warn"),
        ("DIWAN_CONVERSATION_GRACE_MS", "1000"),
        ("DIWAN_CONVERSATION_LEASE_MS", "4000"),
        ("DIWAN_CONVERSATION_HEARTBEAT_MS", "2000"),
        ("DIWAN_CONVERSATION_BACKGROUND_MS", "4000"),
        ("DIWAN_CONVERSATION_SWEEP_MS", "1000"),
    ];
    limits.chain(others.map(|(name, value)| (name.to_owned(), value))).map(|(name, value)| (name, value.to_owned()))
}

impl Stage {
    /// Signs up a company, with its teams and everybody in them.
    pub(crate) async fn set(plan: &Plan, processes: &Processes) -> Result<Self, Failure> {
        let door = Door::open(processes.installation.gateway()).await?;
        let owner = sign_up(&door).await?;
        let folder = processes.home.join("keys");
        let load = |issuer| Signer::load(&folder, issuer, SystemClock::shared());
        let mut stage = Self {
            gateway: lazy(processes.installation.gateway())?,
            replicas: processes.replicas.iter().map(|(_, address)| lazy(*address)).collect::<Result<_, _>>()?,
            mailbox: load("mailbox")?,
            operator: load(keys::OPERATOR)?,
            account: owner.account().await,
            owner: Arc::new(owner),
            agents: Vec::new(),
            teams: Vec::new(),
            topics: Vec::new(),
            staff: (0..plan.agents).map(|_| Mutex::default()).collect(),
            bots: OnceLock::new(),
            archived: Mutex::default(),
            rules: Mutex::default(),
            leads: Mutex::default(),
            board: Board::default(),
            book: Book::default(),
            tally: Tally::default(),
            done: AtomicUsize::new(0),
            overseen: AtomicBool::new(false),
            kills: AtomicUsize::new(0),
            crashes: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        };
        stage.seats(&door, plan.agents + 2).await?;
        stage.teams(plan.teams).await?;
        stage.topics(4).await?;
        for number in 0..plan.agents {
            let agent = stage.hire(&door, processes, number).await?;
            stage.agents.push(Arc::new(agent));
        }
        let bots = Bots::make(&stage, &door).await?;
        let _ = stage.bots.set(bots);
        stage.make_bots_rules().await?;
        // Everybody's first team.
        for (team, agent) in (0..plan.teams).zip(0..plan.agents) {
            stage.lead(team, agent, true).await?;
        }
        Ok(stage)
    }

    /// The bots of the account.
    #[expect(clippy::expect_used, reason = "they are there before any client begins")]
    pub(crate) fn bots(&self) -> &Bots {
        self.bots.get().expect("the bots were made")
    }

    async fn seats(&self, door: &Door, seats: usize) -> Result<(), Failure> {
        let token = self.operator.operator_token("chaos", vec!["billing.write".into()], Duration::from_mins(5))?;
        let request = SetSeatLimitRequest {
            request_id: request_id(),
            account_id: self.account.clone(),
            seats: seats.try_into()?,
        };
        SubscriptionServiceClient::new(door.with_token(&token)?.way()).set_seat_limit(request).await?;
        Ok(())
    }

    /// The fallback team and as many others; every second one without a limit.
    async fn teams(&mut self, count: usize) -> Result<(), Failure> {
        let owner = As::Person(&self.owner);
        let request = ListTeamsRequest::default();
        let list = self.call(owner, At::Gateway, &request, |channel, request| async move {
            TeamServiceClient::new(channel).list_teams(request).await
        });
        let fallback = list.await?.answered()?.teams.into_iter().next().ok_or("an account without a team")?;
        let mut teams = vec![fallback.id];
        for number in 1..count {
            let request = CreateTeamRequest {
                request_id: request_id(),
                name: format!("Team {number}"),
                assignment_limit: if number % 2 == 0 { 0 } else { 3 },
                sticky_owner: number % 3 == 0,
                no_answer_after_minutes: 1,
                reassign_when_offline: number % 2 == 1,
                ..CreateTeamRequest::default()
            };
            let made = self.call(owner, At::Gateway, &request, |channel, request| async move {
                TeamServiceClient::new(channel).create_team(request).await
            });
            teams.push(made.await?.answered()?.team.ok_or("no team was made")?.id);
        }
        self.teams = teams;
        Ok(())
    }

    async fn topics(&mut self, count: usize) -> Result<(), Failure> {
        for number in 0..count {
            let request = CreateTopicRequest {
                request_id: request_id(),
                name: format!("Topic {number}"),
                parent_id: String::new(),
            };
            let owner = As::Person(&self.owner);
            let made = self.call(owner, At::Replica(number), &request, |channel, request| async move {
                TopicServiceClient::new(channel).create_topic(request).await
            });
            let topic = made.await?.answered()?.topic.ok_or("no topic was made")?.id;
            self.topics.push(topic);
        }
        Ok(())
    }

    /// A new agent of one team or two.
    async fn hire(&self, door: &Door, processes: &Processes, number: usize) -> Result<Person, Failure> {
        let email = format!("{}@{}.example", request_id(), &request_id()[24..]);
        let team = |number: usize| self.teams[number % self.teams.len()].clone();
        let mut team_ids = vec![team(number)];
        if number.is_multiple_of(2) {
            team_ids.push(team(number + 1));
        }
        let request = InviteUserRequest {
            request_id: request_id(),
            name: format!("Agent {number}"),
            email: email.clone(),
            role: Role::User.into(),
            team_ids,
            ..InviteUserRequest::default()
        };
        let invited = self.call(As::Person(&self.owner), At::Gateway, &request, |channel, request| async move {
            UserServiceClient::new(channel).invite_user(request).await
        });
        invited.await?.answered()?;
        let token = invitation(processes, &email).await?;
        let request = AcceptInvitationRequest { token, password: PASSWORD.into() };
        UserServiceClient::new(door.way()).accept_invitation(request).await?;
        Person::sign_in(door, &email).await
    }

    /// Where it stands.
    pub(crate) fn progress(&self, what: &'static str) -> Progress {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        Progress { what, done: count(&self.done), kills: count(&self.kills), crashes: count(&self.crashes) }
    }

    /// The agent with this id.
    pub(crate) fn agent(&self, id: Uuid) -> Option<&Arc<Person>> {
        self.agents.iter().find(|agent| agent.id == id)
    }
}

impl<T> Ended<T> {
    /// The answer, where a refusal is a failure.
    pub(crate) fn answered(self) -> Result<T, Failure> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::Refused(reason) => Err(reason.into()),
        }
    }

    /// Whether it was answered.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Answered(_))
    }
}

async fn sign_up(door: &Door) -> Result<Person, Failure> {
    let email = format!("owner@{}.example", &request_id()[24..]);
    let request = SignUpRequest {
        request_id: request_id(),
        company: "Example Trading".into(),
        time_zone: "UTC".into(),
        language: "en".into(),
        owner_name: "Omar Said".into(),
        email: email.clone(),
        password: PASSWORD.into(),
    };
    AccountServiceClient::new(door.way()).sign_up(request).await?;
    Person::sign_in(door, &email).await
}

/// The token in an invitation, from the folder where mail goes.
async fn invitation(processes: &Processes, email: &str) -> Result<String, Failure> {
    let look = || {
        let mails = std::fs::read_dir(processes.home.join("mail-out")).ok()?.filter_map(Result::ok);
        mails.filter_map(|file| std::fs::read(file.path()).ok()).find_map(|raw| {
            let mail = mail_parser::MessageParser::default().parse(&raw)?;
            let text = mail.body_text(0)?;
            let token = text.split("/invitations/").nth(1)?;
            let token = token.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
            (mail.to()?.first()?.address()? == email).then_some(token)
        })
    };
    let found = async {
        loop {
            if let Some(token) = look() {
                return token;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    Ok(tokio::time::timeout(Duration::from_mins(1), found).await?)
}

fn lazy(address: SocketAddr) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(Duration::from_secs(5));
    Ok(endpoint.connect_lazy())
}

/// A time as the protocol says it.
pub(crate) fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}
