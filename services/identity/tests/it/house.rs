//! Identity in a small installation, and what the tests do with it again and again.

use std::{fs, path::Path, sync::Arc, time::Duration};

use diwan_fault::reason_of;
use diwan_identity::{MIGRATIONS, Service};
use diwan_launch::Component as _;
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AcceptInvitationRequest, DeactivateUserRequest, InviteUserRequest, SignInRequest, SignInResponse,
        SignUpRequest, Tokens, User, account_service_client::AccountServiceClient,
        revocation_service_client::RevocationServiceClient, session_service_client::SessionServiceClient,
        user_service_client::UserServiceClient,
    },
};
use diwan_runtime::{Clock, Env, SystemClock, ids};
use diwan_testkit::{TestDatabase, World, eventually};
use diwan_transport::{BoxError, Front, Transport};
use mail_parser::MessageParser;
use tempfile::TempDir;
use tonic::{Code, Request, Status};

use crate::fakes::Others;

pub const PASSWORD: &str = "correct horse battery";
pub const LIMIT: Duration = Duration::from_secs(10);

pub struct House {
    pub world: World,
    pub database: TestDatabase,
    pub others: Others,
    mail: TempDir,
    env: Env,
}

/// Somebody who has signed in.
pub struct Member {
    pub user: User,
    pub tokens: Tokens,
}

impl Member {
    /// `message` with his token.
    pub fn says<M>(&self, message: M) -> Request<M> {
        bearing(&self.tokens.access_token, message)
    }
}

pub fn bearing<M>(token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

pub fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

pub fn sign_up_request(email: &str) -> SignUpRequest {
    SignUpRequest {
        request_id: ids::new_id().to_string(),
        company: "شركة النور".into(),
        time_zone: "Africa/Cairo".into(),
        language: "ar".into(),
        owner_name: "Mona Said".into(),
        email: email.into(),
        password: PASSWORD.into(),
    }
}

pub fn invite_request(email: &str, team: &str) -> InviteUserRequest {
    InviteUserRequest {
        request_id: ids::new_id().to_string(),
        name: "Omar Hadi".into(),
        email: email.into(),
        role: Role::User.into(),
        grants: vec![],
        team_ids: vec![team.into()],
        language: String::new(),
        phone: String::new(),
    }
}

impl House {
    pub async fn new() -> Self {
        Self::with(Env::default()).await
    }

    /// With settings beside the usual ones.
    pub async fn with(env: Env) -> Self {
        Self::start(SystemClock::shared(), env).await
    }

    pub async fn at(clock: Arc<dyn Clock>) -> Self {
        Self::start(clock, Env::default()).await
    }

    pub async fn at_with(clock: Arc<dyn Clock>, env: Env) -> Self {
        Self::start(clock, env).await
    }

    async fn start(clock: Arc<dyn Clock>, env: Env) -> Self {
        let (world, database) = (World::new(clock), TestDatabase::new(&MIGRATIONS).await);
        let (others, mail) = (Others::start(&world).await, TempDir::new().unwrap());
        let env = env
            .with("DIWAN_IDENTITY_DATABASE_URL", &database.url)
            .with("DIWAN_PUBLIC_URL", "https://diwan.example/")
            .with("DIWAN_IDENTITY_MAIL_FROM", "Diwan <no-reply@diwan.example>")
            .with("DIWAN_IDENTITY_MAIL_FOLDER", mail.path().to_str().unwrap())
            .with("DIWAN_IDENTITY_WHATSAPP_FOLDER", mail.path().join("whatsapp").to_str().unwrap())
            .with("DIWAN_IDENTITY_BLOBS", mail.path().join("blobs").to_str().unwrap());
        let front = Service.start(world.context("identity", env.clone())).await.unwrap();
        world.network.slot("identity").unwrap().fill(front);
        world.accept_tokens_of_identity().await;
        Self { world, database, others, mail, env }
    }

    /// A further replica of identity, with settings that are different there.
    pub async fn beside(&self, settings: &[(&str, &str)]) -> Result<Front, BoxError> {
        let env = settings.iter().fold(self.env.clone(), |env, (name, value)| env.with(*name, *value));
        Service.start(self.world.context("identity", env)).await
    }

    pub fn accounts(&self) -> AccountServiceClient<Transport> {
        AccountServiceClient::new(self.world.to("identity"))
    }

    pub fn users(&self) -> UserServiceClient<Transport> {
        UserServiceClient::new(self.world.to("identity"))
    }

    pub fn sessions(&self) -> SessionServiceClient<Transport> {
        SessionServiceClient::new(self.world.to("identity"))
    }

    pub fn revocations(&self) -> RevocationServiceClient<Transport> {
        RevocationServiceClient::new(self.world.to_as("identity", "gateway"))
    }

    pub async fn sign_in(&self, email: &str, password: &str) -> Result<SignInResponse, Status> {
        let request = SignInRequest { email: email.into(), password: password.into(), ..Default::default() };
        Ok(self.sessions().sign_in(request).await?.into_inner())
    }

    pub async fn member(&self, email: &str) -> Member {
        let answer = self.sign_in(email, PASSWORD).await.unwrap();
        Member { user: answer.user.unwrap(), tokens: answer.tokens.unwrap() }
    }

    /// The owner of a new account.
    pub async fn owner(&self, email: &str) -> Member {
        self.accounts().sign_up(sign_up_request(email)).await.unwrap();
        self.member(email).await
    }

    /// A colleague of the owner who has accepted his invitation.
    pub async fn colleague(&self, owner: &Member, email: &str, role: Role) -> Member {
        let team = self.others.add_team(&owner.user.account_id);
        let request = InviteUserRequest { role: role.into(), ..invite_request(email, &team) };
        self.users().invite_user(owner.says(request)).await.unwrap();
        self.accept(&self.invitation_token(email).await).await.unwrap();
        self.member(email).await
    }

    pub async fn accept(&self, token: &str) -> Result<User, Status> {
        let request = AcceptInvitationRequest { token: token.into(), password: PASSWORD.into() };
        Ok(self.users().accept_invitation(request).await?.into_inner().user.unwrap())
    }

    pub async fn deactivate(&self, actor: &Member, user: &str) -> Result<User, Status> {
        let request = DeactivateUserRequest { request_id: ids::new_id().to_string(), user_id: user.into() };
        Ok(self.users().deactivate_user(actor.says(request)).await?.into_inner().user.unwrap())
    }

    /// The e-mails to an address: subject and text.
    pub fn mails(&self, to: &str) -> Vec<(String, String)> {
        let files = fs::read_dir(self.mail.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
        let mails = files.filter_map(|path| {
            let raw = fs::read(path).unwrap();
            let mail = MessageParser::default().parse(&raw)?;
            let addressed = mail.to()?.first()?.address() == Some(to);
            addressed.then(|| (mail.subject().unwrap().to_owned(), mail.body_text(0).unwrap().into_owned()))
        });
        mails.collect()
    }

    /// The token of the only e-mail to an address, once it has arrived.
    pub async fn invitation_token(&self, email: &str) -> String {
        let (_, text) =
            eventually("an invitation arrives", LIMIT, async || self.mails(email).into_iter().next_back()).await;
        token_in(&text)
    }

    /// How many folders with blobs the part of an account has in a part of the store.
    pub fn blobs(&self, space: &str, account: &str) -> usize {
        let Ok(folders) = fs::read_dir(self.mail.path().join("blobs").join(space).join(account)) else { return 0 };
        folders.map(|folder| folder.unwrap().path()).filter(|folder| has_files(folder)).count()
    }

    /// How many rows `table` has.
    pub async fn count(&self, table: &str) -> i64 {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(query).fetch_one(&self.database.pool).await.unwrap()
    }
}

/// The token in the text of an invitation.
pub fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once("https://diwan.example/invitations/").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

fn has_files(path: &Path) -> bool {
    // It may be removed meanwhile.
    path.is_file() || fs::read_dir(path).into_iter().flatten().flatten().any(|entry| has_files(&entry.path()))
}
