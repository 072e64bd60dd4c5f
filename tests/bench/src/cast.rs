//! An installation to measure, and the people in it.

use std::{sync::Arc, time::Duration};

use diwan_access::{Signer, keys};
use diwan_e2e::{
    Failure,
    door::{Door, Person, request_id},
    installation::{Installation, Options, Topology, postgres_programs},
};
use diwan_proto::{
    access::v1::Role,
    billing::v1::{SetSeatLimitRequest, subscription_service_client::SubscriptionServiceClient},
    identity::v1::{
        AcceptInvitationRequest, InviteUserRequest, SignUpRequest, account_service_client::AccountServiceClient,
        user_service_client::UserServiceClient,
    },
    team::v1::{ListTeamsRequest, Team, team_service_client::TeamServiceClient},
};
use diwan_runtime::SystemClock;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A running Diwan of separate processes, without the limits that would be measured instead of it.
pub(crate) struct Scene {
    /// It.
    pub(crate) installation: Installation,
    /// The way in.
    pub(crate) door: Door,
    home: TempDir,
}

impl Scene {
    /// Starts it with `settings`.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let home = tempfile::Builder::new().prefix("diwan-bench-").tempdir()?;
        keys::ensure(&home.path().join("keys"), &keys::ISSUERS)?;
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = Options {
            topology: Topology::Separate,
            home: home.path().to_owned(),
            postgres: postgres_programs()?,
            settings: unlimited().chain(settings).collect(),
        };
        let installation = Installation::start(options).await?;
        let door = Door::open(installation.gateway()).await?;
        Ok(Self { installation, door, home })
    }

    /// The process id of a process of it.
    pub(crate) fn pid(&self, name: &str) -> Result<u32, Failure> {
        self.installation.pid(name).ok_or_else(|| format!("{name} does not run").into())
    }

    /// A new account; its owner, signed in.
    pub(crate) async fn owner(&self) -> Result<Person, Failure> {
        let email = format!("owner@{}.example", &request_id()[24..]);
        let request = SignUpRequest {
            request_id: request_id(),
            company: "Example Trading".into(),
            time_zone: "Africa/Cairo".into(),
            language: "en".into(),
            owner_name: "Omar Said".into(),
            email: email.clone(),
            password: PASSWORD.into(),
        };
        AccountServiceClient::new(self.door.way()).sign_up(request).await?;
        self.door.sign_in(&email, PASSWORD).await
    }

    /// A colleague in `team`, invited by `owner`, who has accepted and signed in.
    pub(crate) async fn colleague(&self, owner: &Person, team: &Team) -> Result<Person, Failure> {
        self.sign_in(&self.hire(owner, team).await?).await
    }

    /// A colleague in `team`, invited by `owner`, who has accepted.
    pub(crate) async fn hire(&self, owner: &Person, team: &Team) -> Result<Hired, Failure> {
        let email = invite(owner, team).await?;
        let token = self.invitation_of(&email).await?;
        let request = AcceptInvitationRequest { token, password: PASSWORD.into() };
        UserServiceClient::new(self.door.way()).accept_invitation(request).await?;
        Ok(Hired { email })
    }

    /// Signs somebody in.
    pub(crate) async fn sign_in(&self, hired: &Hired) -> Result<Person, Failure> {
        self.door.sign_in(&hired.email, PASSWORD).await
    }

    /// Lets the account of `owner` have so many seats.
    pub(crate) async fn seats(&self, owner: &Person, seats: usize) -> Result<(), Failure> {
        let request = SetSeatLimitRequest {
            request_id: request_id(),
            account_id: owner.user.account_id.clone(),
            seats: seats.try_into()?,
        };
        let operator = self.operator("billing.write")?;
        SubscriptionServiceClient::new(operator.way()).set_seat_limit(request).await?;
        Ok(())
    }

    /// The way in as an operator with this scope.
    pub(crate) fn operator(&self, scope: &str) -> Result<Door, Failure> {
        let signer = Signer::load(&self.home.path().join("keys"), keys::OPERATOR, Arc::new(SystemClock))?;
        let token = signer.operator_token("bench", vec![scope.to_owned()], Duration::from_mins(10))?;
        self.door.with_token(&token)
    }

    /// A connection to the database of a service.
    pub(crate) async fn database(&self, service: &str) -> Result<PgConnection, Failure> {
        let url = self.installation.database_url(service).ok_or("no database")?;
        Ok(PgConnection::connect(&url).await?)
    }

    /// The token in the invitation, from the folder where mail goes.
    async fn invitation_of(&self, email: &str) -> Result<String, Failure> {
        let found = async {
            loop {
                if let Some(token) = self.look_for_invitation(email) {
                    return token;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Ok(tokio::time::timeout(Duration::from_secs(10), found).await?)
    }

    fn look_for_invitation(&self, email: &str) -> Option<String> {
        let mails = std::fs::read_dir(self.home.path().join("mail-out")).ok()?.filter_map(Result::ok);
        mails.filter_map(|file| std::fs::read(file.path()).ok()).find_map(|raw| {
            let mail = mail_parser::MessageParser::default().parse(&raw)?;
            let to = mail.to()?.first()?.address()?;
            let text = mail.body_text(0)?;
            let token = text.split("/invitations/").nth(1)?;
            let token = token.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
            (to == email).then_some(token)
        })
    }

    /// Ends it, and removes what it left.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        self.installation.stop().await?;
        Ok(self.home.close()?)
    }
}

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub(crate) struct Hired {
    email: String,
}

/// The fallback team of the account.
pub(crate) async fn team(owner: &Person) -> Result<Team, Failure> {
    let teams = TeamServiceClient::new(owner.way()).list_teams(ListTeamsRequest::default()).await?.into_inner();
    Ok(teams.teams.into_iter().next().ok_or("an account without a team")?)
}

/// Invites somebody; returns his e-mail address.
pub(crate) async fn invite(owner: &Person, team: &Team) -> Result<String, Failure> {
    let email = format!("{}@{}.example", request_id(), &request_id()[24..]);
    let request = InviteUserRequest {
        request_id: request_id(),
        name: "Amina Haddad".into(),
        email: email.clone(),
        role: Role::User.into(),
        team_ids: vec![team.id.clone()],
        ..InviteUserRequest::default()
    };
    UserServiceClient::new(owner.way()).invite_user(request).await?;
    Ok(email)
}

fn unlimited() -> impl Iterator<Item = (String, String)> {
    ["ADDRESS", "USER", "ACCOUNT"].into_iter().flat_map(|scope| {
        ["SIGN_IN", "READ", "WRITE", "STREAM"]
            .map(|class| (format!("DIWAN_GATEWAY_LIMIT_{scope}_{class}"), "10000000/10000000".to_owned()))
    })
}
