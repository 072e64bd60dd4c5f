//! Who is in the story: an owner, two agents with open inboxes, two teams, and a shared mailbox.

use std::time::Duration;

use diwan_mailhost::{MailHost, PASSWORD};
use diwan_proto::{
    access::v1::Role,
    billing::v1::{GetSubscriptionRequest, subscription_service_client::SubscriptionServiceClient},
    conversation::v1::AvailabilityState,
    identity::v1::{
        AcceptInvitationRequest, InviteUserRequest, SignUpRequest, account_service_client::AccountServiceClient,
        user_service_client::UserServiceClient,
    },
    mailbox::v1::{
        ConnectMailboxRequest, GetMailboxRequest, Mailbox, MailboxState, Security, ServerSettings,
        mailbox_service_client::MailboxServiceClient,
    },
    team::v1::{CreateTeamRequest, Team, team_service_client::TeamServiceClient},
};
use tokio::time::{sleep, timeout};

use super::{LIMIT, SHARED};
use crate::{
    Failure,
    door::{Door, Person, request_id},
    inbox::Inbox,
    mail,
    report::{Report, StepFailed},
};

const PASSWORD_OF_ALL: &str = "correct horse battery staple";
const SOON: Duration = Duration::from_secs(10);

/// An agent with his inbox open.
pub(super) struct Agent {
    pub(super) person: Person,
    pub(super) inbox: Inbox,
}

/// Everybody.
pub(super) struct Cast {
    pub(super) owner: Person,
    pub(super) support: Team,
    pub(super) amina: Agent,
    pub(super) bruno: Agent,
}

impl Cast {
    /// The agent whose id this is.
    pub(super) fn agent(&mut self, user_id: &str) -> Option<&mut Agent> {
        [&mut self.amina, &mut self.bruno].into_iter().find(|agent| agent.person.user.id == user_id)
    }
}

/// From an empty installation to agents who wait for work.
pub(super) async fn assemble(door: &Door, mail: &MailHost, report: &Report) -> Result<Cast, StepFailed> {
    // One installation, many stories: addresses are used once in the whole installation.
    let domain = format!("{}.example", &request_id()[24..]);
    let owner = report.step("an account signs up, its owner signs in", sign_up(door, &domain)).await?;
    let (sales, support) =
        report.step("he makes the teams Sales and Support, Support with a limit of 3", teams(&owner)).await?;
    let invited =
        [("Amina Haddad", "amina", "ar", vec![&support]), ("Bruno Costa", "bruno", "pt", vec![&support, &sales])];
    for (name, mailbox, language, teams) in &invited {
        let what = format!("he invites {name} (in {language})");
        report.step(&what, invite(&owner, name, &format!("{mailbox}@{domain}"), language, teams)).await?;
    }
    let mut agents = Vec::new();
    for (name, mailbox, ..) in &invited {
        let address = format!("{mailbox}@{domain}");
        report
            .step(&format!("{name} reads the invitation in the mailbox and accepts"), accept(door, mail, &address))
            .await?;
        let what = format!("{name} signs in, opens the inbox and is ACTIVE");
        agents.push(report.step(&what, open_inbox(door, &address)).await?);
    }
    report.step("the seats of all three are taken", seats_held(&owner, 3)).await?;
    let connected = connect_mailbox(&owner, mail, &support);
    report.step(&format!("the shared mailbox {SHARED} is connected to Support and in sync"), connected).await?;
    let bruno = agents.pop();
    match (agents.pop(), bruno) {
        (Some(amina), Some(bruno)) => Ok(Cast { owner, support, amina, bruno }),
        _ => report.step("two agents", async { Err("somebody is missing".into()) }).await,
    }
}

async fn sign_up(door: &Door, domain: &str) -> Result<Person, Failure> {
    let email = format!("owner@{domain}");
    let request = SignUpRequest {
        request_id: request_id(),
        company: "Example Trading".into(),
        time_zone: "Africa/Cairo".into(),
        language: "en".into(),
        owner_name: "Omar Said".into(),
        email: email.clone(),
        password: PASSWORD_OF_ALL.into(),
    };
    AccountServiceClient::new(door.way()).sign_up(request).await?;
    door.sign_in(&email, PASSWORD_OF_ALL).await
}

async fn teams(owner: &Person) -> Result<(Team, Team), Failure> {
    let mut client = TeamServiceClient::new(owner.way());
    let mut made = Vec::new();
    for (name, limit) in [("Sales", 0), ("Support", i32::try_from(LIMIT)?)] {
        let request = CreateTeamRequest {
            request_id: request_id(),
            name: name.into(),
            assignment_limit: limit,
            ..CreateTeamRequest::default()
        };
        made.push(client.create_team(request).await?.into_inner().team.ok_or("no team in the answer")?);
    }
    let support = made.pop().ok_or("no team")?;
    Ok((made.pop().ok_or("no team")?, support))
}

async fn invite(owner: &Person, name: &str, email: &str, language: &str, teams: &[&Team]) -> Result<(), Failure> {
    let request = InviteUserRequest {
        request_id: request_id(),
        name: name.into(),
        email: email.into(),
        role: Role::User.into(),
        grants: Vec::new(),
        team_ids: teams.iter().map(|team| team.id.clone()).collect(),
        language: language.into(),
        phone: String::new(),
    };
    UserServiceClient::new(owner.way()).invite_user(request).await?;
    Ok(())
}

async fn accept(door: &Door, mail: &MailHost, address: &str) -> Result<(), Failure> {
    let raw = mail::wait_for(mail, address, SOON, |_| true).await?;
    let parsed = mail_parser::MessageParser::default().parse(&raw).ok_or("the invitation cannot be parsed")?;
    let text = parsed.body_text(0).ok_or("the invitation has no text")?;
    let token = text.split("/invitations/").nth(1).ok_or("the invitation has no link")?;
    let token: String = token.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    let request = AcceptInvitationRequest { token, password: PASSWORD_OF_ALL.into() };
    UserServiceClient::new(door.way()).accept_invitation(request).await?;
    Ok(())
}

async fn open_inbox(door: &Door, address: &str) -> Result<Agent, Failure> {
    let person = door.sign_in(address, PASSWORD_OF_ALL).await?;
    let (inbox, state) = Inbox::open(&person).await?;
    if state != AvailabilityState::Active {
        return Err(format!("the open inbox made him {state:?}").into());
    }
    Ok(Agent { person, inbox })
}

/// Waits until so many seats are held.
pub(super) async fn seats_held(owner: &Person, expected: i32) -> Result<(), Failure> {
    let mut client = SubscriptionServiceClient::new(owner.way());
    let mut held = 0;
    let waited = async {
        loop {
            let answer = client.get_subscription(GetSubscriptionRequest {}).await?.into_inner();
            held = answer.subscription.ok_or("no subscription in the answer")?.seats_held;
            if held == expected {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waited).await.map_err(|_| format!("{held} seats are held instead of {expected}"))?
}

async fn connect_mailbox(owner: &Person, mail: &MailHost, support: &Team) -> Result<Mailbox, Failure> {
    let settings = |address: std::net::SocketAddr| ServerSettings {
        host: address.ip().to_string(),
        port: address.port().into(),
        security: Security::Plain.into(),
        user: SHARED.into(),
        password: PASSWORD.into(),
    };
    let mut client = MailboxServiceClient::new(owner.way());
    let request = ConnectMailboxRequest {
        request_id: request_id(),
        address: SHARED.into(),
        display_name: "Example Support".into(),
        team_id: support.id.clone(),
        imap: Some(settings(mail.imap())),
        smtp: Some(settings(mail.submission())),
    };
    let mailbox = client.connect_mailbox(request).await?.into_inner().mailbox.ok_or("no mailbox in the answer")?;
    let in_sync = async {
        loop {
            let request = GetMailboxRequest { mailbox_id: mailbox.id.clone() };
            let now = client.get_mailbox(request).await?.into_inner().mailbox.ok_or("no mailbox in the answer")?;
            if now.state() == MailboxState::Synced {
                return Ok::<_, Failure>(now);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, in_sync).await.map_err(|_| "the mailbox did not come into sync")?
}
