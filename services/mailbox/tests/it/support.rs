//! An installation with a mail host, the mailbox service, and fakes of those that it calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use diwan_imap::{Credentials, Endpoint, Fetched, FolderName, Secret, Security::Plain, Session};
use diwan_launch::Component as _;
use diwan_mailbox::{MIGRATIONS, Service};
use diwan_mailhost::{MailHost, Options, PASSWORD};
use diwan_proto::{
    conversation::v1::{
        IngestMessageRequest, IngestMessageResponse, ReportDeliveryRequest, ReportDeliveryResponse,
        ingest_service_server::{IngestService, IngestServiceServer},
    },
    mailbox::v1::{
        ConnectMailboxRequest, GetMailboxRequest, Mailbox, MailboxState, Security, SendMailRequest, ServerSettings,
        mailbox_service_client::MailboxServiceClient, send_service_client::SendServiceClient,
    },
    team::v1::{
        BatchGetTeamsRequest, BatchGetTeamsResponse, Team,
        team_service_server::{TeamService, TeamServiceServer},
    },
};
use diwan_runtime::{Env, SystemClock, ids};
use diwan_testkit::{FakeFeed, Person, TestDatabase, World, eventually};
use diwan_transport::{Front, Methods, Transport};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor, address::Envelope};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub const LIMIT: Duration = Duration::from_secs(20);
pub const SUPPORT: &str = "support@shop.test";
pub const CUSTOMER: &str = "ana@customers.test";

/// What conversation was told.
#[derive(Clone, Default)]
pub struct Conversation(Arc<Told>);

#[derive(Default)]
struct Told {
    ingested: Mutex<Vec<(IngestMessageRequest, Instant)>>,
    reports: Mutex<Vec<ReportDeliveryRequest>>,
    /// So many calls fail first.
    failures: AtomicU32,
}

impl Conversation {
    pub fn ingested(&self) -> Vec<IngestMessageRequest> {
        self.0.ingested.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    pub fn reports(&self) -> Vec<ReportDeliveryRequest> {
        self.0.reports.lock().unwrap().clone()
    }

    /// The next calls are UNAVAILABLE.
    pub fn fail(&self, calls: u32) {
        self.0.failures.store(calls, Ordering::SeqCst);
    }

    /// Waits for so many mails, and says when the last came.
    pub async fn await_ingested(&self, count: usize) -> Instant {
        eventually("conversation has the mail", LIMIT, async || self.ingested().len() >= count).await;
        self.0.ingested.lock().unwrap()[count - 1].1
    }

    pub async fn await_report(&self) -> ReportDeliveryRequest {
        eventually("a report", LIMIT, async || self.reports().last().cloned()).await
    }

    fn available(&self) -> Result<(), Status> {
        let less = |left: u32| left.checked_sub(1);
        match self.0.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Err(Status::unavailable("as the test wants it")),
            Err(_) => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl IngestService for Conversation {
    async fn ingest_message(
        &self,
        request: Request<IngestMessageRequest>,
    ) -> Result<Response<IngestMessageResponse>, Status> {
        self.available()?;
        self.0.ingested.lock().unwrap().push((request.into_inner(), Instant::now()));
        Ok(Response::new(IngestMessageResponse { conversation_id: ids::new_id().to_string() }))
    }

    async fn report_delivery(
        &self,
        request: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        self.available()?;
        self.0.reports.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ReportDeliveryResponse {}))
    }
}

/// Knows one team.
struct Teams(Uuid);

/// The methods of TeamService that mailbox does not call.
macro_rules! uncalled {
    ($($method:ident, $request:ident, $response:ident;)*) => {
        #[tonic::async_trait]
        impl TeamService for Teams {
            $(async fn $method(
                &self,
                _: Request<diwan_proto::team::v1::$request>,
            ) -> Result<Response<diwan_proto::team::v1::$response>, Status> {
                Err(Status::unimplemented(stringify!($method)))
            })*

            async fn batch_get_teams(
                &self,
                request: Request<BatchGetTeamsRequest>,
            ) -> Result<Response<BatchGetTeamsResponse>, Status> {
                let known = request.into_inner().team_ids.into_iter().filter(|id| *id == self.0.to_string());
                let teams = known.map(|id| Team { id, ..Team::default() }).collect();
                Ok(Response::new(BatchGetTeamsResponse { teams }))
            }
        }
    };
}

uncalled! {
    create_team, CreateTeamRequest, CreateTeamResponse;
    get_team, GetTeamRequest, GetTeamResponse;
    list_teams, ListTeamsRequest, ListTeamsResponse;
    update_team, UpdateTeamRequest, UpdateTeamResponse;
    create_fallback_team, CreateFallbackTeamRequest, CreateFallbackTeamResponse;
}

/// Mailbox, as one test sees it.
pub struct Office {
    pub world: World,
    pub database: TestDatabase,
    pub conversation: Conversation,
    pub host: MailHost,
    pub owner: Person,
    pub team: Uuid,
    folder: TempDir,
}

impl Office {
    /// With one replica of the service.
    pub async fn open() -> Self {
        let office = Self::closed().await;
        let front = Service.start(office.world.context("mailbox", office.env())).await.unwrap();
        office.world.network.slot("mailbox").unwrap().fill(front);
        office
    }

    /// One more replica, in a runtime of its own, on the same database.
    pub fn replica(&self, env: Env) -> Replica {
        let context = self.world.context("mailbox", env);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let front = std::thread::scope(|scope| {
            scope.spawn(|| runtime.block_on(Service.start(context)).unwrap()).join().unwrap()
        });
        Replica { runtime: Some(runtime), front }
    }

    /// Without the service.
    pub async fn closed() -> Self {
        Self::closed_with(None).await
    }

    /// Without the service; what the team service tells comes from `feed`.
    pub async fn closed_with(feed: Option<&FakeFeed>) -> Self {
        let world = World::new(SystemClock::shared());
        let (folder, team, conversation) = (TempDir::new().unwrap(), ids::new_id(), Conversation::default());
        let ingest = Methods::new("conversation").with(IngestServiceServer::new(conversation.clone())).await;
        let teams = match feed {
            Some(feed) => feed.methods("team").await,
            None => Methods::new("team"),
        };
        let teams = teams.with(TeamServiceServer::new(Teams(team))).await;
        for (name, methods) in [("conversation", ingest), ("team", teams)] {
            let front = methods.into_front(world.admission.clone(), &world.drain).unwrap();
            world.network.slot(name).unwrap().fill(front);
        }
        let host = MailHost::start(Options::new(folder.path().join("mail"))).await.unwrap();
        let database = TestDatabase::new(&MIGRATIONS).await;
        Self { world, database, conversation, host, owner: Person::owner(), team, folder }
    }

    /// The settings of the service: impatient, and plain connections to this machine.
    pub fn env(&self) -> Env {
        Env::default()
            .with("DIWAN_MAILBOX_DATABASE_URL", &self.database.url)
            .with("DIWAN_MAILBOX_BLOBS", self.folder.path().join("blobs").to_str().unwrap())
            .with("DIWAN_MAILBOX_ALLOW_PLAIN", "loopback")
            .with("DIWAN_MAILBOX_RETRY_MS", "50")
            .with("DIWAN_MAILBOX_SEND_RETRY_MS", "50")
            .with("DIWAN_MAILBOX_SEND_ANSWER_MS", "3000")
    }

    pub fn blob(&self, sha256: &str) -> Vec<u8> {
        let mails = self.folder.path().join("blobs/mails").join(self.owner.account.to_string());
        std::fs::read(mails.join(&sha256[..2]).join(sha256)).unwrap()
    }

    pub fn mailboxes(&self) -> MailboxServiceClient<Transport> {
        MailboxServiceClient::new(self.world.to("mailbox"))
    }

    /// What connects support@ with the mail host.
    pub fn settings(&self) -> ConnectMailboxRequest {
        let server = |address: SocketAddr| ServerSettings {
            host: address.ip().to_string(),
            port: address.port().into(),
            security: Security::Plain.into(),
            user: SUPPORT.into(),
            password: PASSWORD.into(),
        };
        ConnectMailboxRequest {
            request_id: ids::new_id().to_string(),
            address: SUPPORT.into(),
            display_name: "Shop Support".into(),
            team_id: self.team.to_string(),
            imap: Some(server(self.host.imap())),
            smtp: Some(server(self.host.submission())),
        }
    }

    pub async fn connect(&self, settings: ConnectMailboxRequest) -> Result<Mailbox, Status> {
        let request = self.world.request(&self.owner, settings);
        Ok(self.mailboxes().connect_mailbox(request).await?.into_inner().mailbox.unwrap())
    }

    pub async fn mailbox(&self, id: &str) -> Mailbox {
        let request = self.world.request(&self.owner, GetMailboxRequest { mailbox_id: id.to_owned() });
        self.mailboxes().get_mailbox(request).await.unwrap().into_inner().mailbox.unwrap()
    }

    pub async fn await_state(&self, id: &str, state: MailboxState) -> Mailbox {
        eventually("the mailbox's state", LIMIT, async || {
            let mailbox = self.mailbox(id).await;
            (mailbox.state() == state).then_some(mailbox)
        })
        .await
    }

    /// Until no stored mail waits for conversation.
    pub async fn await_settled(&self) {
        eventually("no mail waits", LIMIT, async || {
            let query = sqlx::query_scalar::<_, i64>("select count(*) from messages where state = 'PENDING'");
            query.fetch_one(&self.database.pool).await.unwrap() == 0
        })
        .await;
    }

    /// Sends a raw mail to `to`, from outside; says when the server had accepted it.
    pub async fn deliver(&self, to: &str, raw: &str) -> Instant {
        deliver(self.host.smtp(), to, raw).await
    }

    /// The mail with this Message-ID in a folder of `user`, once it is there.
    pub async fn await_mail(&self, user: &str, folder: &str, message_id: &str) -> String {
        eventually("the mail lies in the folder", LIMIT, async || self.mails(user, folder, message_id).await.pop())
            .await
    }

    /// Reads the mailbox of `user` beside the service.
    pub async fn imap(&self, user: &str) -> Session {
        let address = self.host.imap();
        let endpoint = Endpoint { host: address.ip().to_string(), port: address.port(), security: Plain };
        let credentials = Credentials::Password { user: user.into(), password: Secret::new(PASSWORD) };
        diwan_imap::connect(&endpoint, &credentials, &diwan_imap::Options::default()).await.unwrap()
    }

    /// The mails with this Message-ID in a folder of `user`, as read over IMAP.
    pub async fn mails(&self, user: &str, folder: &str, message_id: &str) -> Vec<String> {
        let mut session = self.imap(user).await;
        session.examine(&FolderName::new(folder)).await.unwrap();
        let mut uids = session.uids_with_message_id(&format!("<{message_id}>")).await.unwrap();
        let mut mails = Vec::new();
        while !uids.is_empty() {
            for fetched in session.fetch(&mut uids).await.unwrap() {
                if let Fetched::Message(message) = fetched {
                    mails.push(String::from_utf8(message.raw.to_vec()).unwrap());
                }
            }
        }
        mails
    }

    /// Has conversation send a mail by this mailbox.
    pub async fn send(&self, mailbox: &Mailbox, mail: SendMailRequest) -> Result<(), Status> {
        let account_id = self.owner.account.to_string();
        let mail = SendMailRequest { account_id, mailbox_id: mailbox.id.clone(), ..mail };
        let mut client = SendServiceClient::new(self.world.to_as("mailbox", "conversation"));
        client.send_mail(mail).await.map(drop)
    }
}

/// A replica of the service that can die.
pub struct Replica {
    runtime: Option<tokio::runtime::Runtime>,
    pub front: Front,
}

impl Replica {
    /// Ends it at once, in the middle of whatever it does, as kill -9 would: nothing is given back.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.runtime.take().into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.end();
    }
}

/// An answer to a customer.
pub fn answer() -> SendMailRequest {
    SendMailRequest {
        message_id: ids::new_id().to_string(),
        to_email: CUSTOMER.into(),
        to_name: "Ana".into(),
        subject: "Re: Question".into(),
        text: "An answer.\n".into(),
        in_reply_to: "question@customers.test".into(),
        references: vec!["first@customers.test".into(), "question@customers.test".into()],
        rfc_message_id: format!("{}@shop.test", ids::new_id()),
        ..SendMailRequest::default()
    }
}

pub async fn deliver(smtp: SocketAddr, to: &str, raw: &str) -> Instant {
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.ip().to_string()).port(smtp.port());
    let envelope = Envelope::new(Some(CUSTOMER.parse().unwrap()), vec![to.parse().unwrap()]).unwrap();
    let sent = transport.build();
    tokio::time::timeout(LIMIT, sent.send_raw(&envelope, raw.as_bytes())).await.unwrap().unwrap();
    Instant::now()
}

/// A customer's mail.
pub fn question(number: u32) -> String {
    format!(
        "From: Ana <{CUSTOMER}>\r\nTo: {SUPPORT}\r\nSubject: Question {number}\r\n\
         Message-ID: <{number}@customers.test>\r\n\r\nWhat about {number}?\r\n"
    )
}
