//! Somebody of every kind who can call, in one installation.

use std::{collections::HashMap, fs, time::Duration};

use diwan_access::{Rules, Signer};
use diwan_e2e::door::{Door, Person, request_id};
use diwan_proto::{
    access::v1::{Grant, Role},
    billing::v1::{SetSeatLimitRequest, subscription_service_client::SubscriptionServiceClient},
    conversation::v1::{GetBoardRequest, board_service_client::BoardServiceClient},
    identity::v1::{
        AcceptInvitationRequest, AddPrincipalCredentialRequest, CreateServicePrincipalRequest,
        ExchangeCredentialRequest, InviteUserRequest, SetActingForRequest,
        principal_token_service_client::PrincipalTokenServiceClient,
        service_principal_service_client::ServicePrincipalServiceClient, user_service_client::UserServiceClient,
    },
    team::v1::{
        ListTeamsRequest, SetTeamLeadRequest, membership_service_client::MembershipServiceClient,
        team_service_client::TeamServiceClient,
    },
};
use diwan_runtime::SystemClock;
use diwan_testkit::eventually;

use crate::{
    dynamic::methods,
    support::{Fresh, PASSWORD, sign_up},
};

/// Who leads a team.
pub const LEAD: &str = "team lead";

/// So many fit into one principal's token.
const SCOPES: usize = 30;
const LIMIT: Duration = Duration::from_mins(1);

/// Users by what they are, and a service principal's tokens.
pub struct Crew {
    door: Door,
    people: HashMap<&'static str, Person>,
    principals: Vec<Principal>,
}

/// A service principal's tokens.
pub struct Principal {
    /// The gRPC services that it may call.
    scopes: Vec<String>,
    /// As itself.
    pub own: String,
    /// Acting for the owner.
    pub delegate: String,
}

impl Crew {
    pub async fn gather(fresh: &Fresh) -> Self {
        let door = Door::open(fresh.installation.gateway()).await.unwrap();
        let owner = sign_up(&door, "Crew").await;
        more_seats(fresh, &door, &owner).await;
        let mut people = HashMap::new();
        let colleagues: [(&str, Role, &[Grant]); 6] = [
            ("admin", Role::Admin, &[]),
            ("admin with CAMPAIGNS", Role::Admin, &[Grant::Campaigns]),
            ("admin with SUBSCRIPTION_MANAGEMENT", Role::Admin, &[Grant::SubscriptionManagement]),
            ("user", Role::User, &[]),
            ("user with CAMPAIGNS", Role::User, &[Grant::Campaigns]),
            ("user with SUBSCRIPTION_MANAGEMENT", Role::User, &[Grant::SubscriptionManagement]),
        ];
        for (what, role, grants) in colleagues {
            people.insert(what, colleague(fresh, &door, &owner, role, grants).await);
        }
        people.insert(LEAD, lead(fresh, &door, &owner).await);
        people.insert("owner of another account", sign_up(&door, "Another").await);
        let mut principals = Vec::new();
        for scopes in grantable().chunks(SCOPES) {
            principals.push(principal(&door, &owner, scopes.to_vec()).await);
        }
        people.insert("owner", owner);
        Self { door, people, principals }
    }

    /// The principal that may call `service`; any of them for one that is granted to none.
    pub fn principal(&self, service: &str) -> &Principal {
        let granted = |principal: &&Principal| principal.scopes.iter().any(|scope| scope == service);
        self.principals.iter().find(granted).unwrap_or(&self.principals[0])
    }

    /// The token of somebody.
    pub fn token(&self, what: &str) -> &str {
        &self.people[what].tokens.access_token
    }

    /// The token of a new session of his, for what ends it.
    pub async fn token_anew(&self, what: &str) -> String {
        let person = self.door.sign_in(&self.people[what].user.email, PASSWORD).await.unwrap();
        person.tokens.access_token
    }
}

pub async fn more_seats(fresh: &Fresh, door: &Door, owner: &Person) {
    let signer = Signer::load(&fresh.installation.keys(), "operator", SystemClock::shared()).unwrap();
    let token = signer.operator_token("test", vec!["billing.write".into()], Duration::from_mins(5)).unwrap();
    let request =
        SetSeatLimitRequest { request_id: request_id(), account_id: owner.user.account_id.clone(), seats: 20 };
    let operator = door.with_token(&token).unwrap();
    SubscriptionServiceClient::new(operator.way()).set_seat_limit(request).await.unwrap();
}

/// Somebody of the owner's account who has accepted his invitation.
pub async fn colleague(fresh: &Fresh, door: &Door, owner: &Person, role: Role, grants: &[Grant]) -> Person {
    let email = format!("{}@tests.example", request_id());
    let request = InviteUserRequest {
        request_id: request_id(),
        name: "Somebody".into(),
        email: email.clone(),
        role: role.into(),
        grants: grants.iter().map(|grant| i32::from(*grant)).collect(),
        team_ids: vec![first_team(owner).await],
        language: "en".into(),
        phone: String::new(),
    };
    UserServiceClient::new(owner.way()).invite_user(request).await.unwrap();
    let token = eventually("the invitation arrives", LIMIT, async || invitation(fresh, &email)).await;
    let request = AcceptInvitationRequest { token, password: PASSWORD.into() };
    UserServiceClient::new(door.way()).accept_invitation(request).await.unwrap();
    door.sign_in(&email, PASSWORD).await.unwrap()
}

/// A USER who leads the team of all, which conversation has heard of.
async fn lead(fresh: &Fresh, door: &Door, owner: &Person) -> Person {
    let lead = colleague(fresh, door, owner, Role::User, &[]).await;
    let team_id = first_team(owner).await;
    let (request_id, user_id) = (request_id(), lead.user.id.clone());
    let request = SetTeamLeadRequest { request_id, team_id: team_id.clone(), user_id, lead: true };
    MembershipServiceClient::new(owner.way()).set_team_lead(request).await.unwrap();
    eventually("the mark is known", LIMIT, async || {
        BoardServiceClient::new(lead.way()).get_board(GetBoardRequest { team_id: team_id.clone() }).await.is_ok()
    })
    .await;
    lead
}

async fn first_team(owner: &Person) -> String {
    let teams = TeamServiceClient::new(owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
    teams.into_inner().teams[0].id.clone()
}

/// The token in the invitation that was sent to `email`.
fn invitation(fresh: &Fresh, email: &str) -> Option<String> {
    let folder = fresh.installation.keys().with_file_name("mail-out");
    let mails = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|file| fs::read(file.path()).ok());
    mails.into_iter().find_map(|raw| {
        let mail = mail_parser::MessageParser::default().parse(&raw)?;
        let to = mail.to()?.first()?.address()?;
        let text = mail.body_text(0)?;
        let (_, rest) = text.split_once("/invitations/").filter(|_| to == email)?;
        Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
    })
}

/// The gRPC services that a principal may be let call.
fn grantable() -> Vec<String> {
    let rules = Rules::load().unwrap();
    let mut scopes: Vec<_> = methods().iter().map(|method| method.parent_service().full_name().to_owned()).collect();
    scopes.dedup();
    scopes.retain(|scope| rules.can_grant(scope));
    scopes
}

async fn principal(door: &Door, owner: &Person, scopes: Vec<String>) -> Principal {
    let mut client = ServicePrincipalServiceClient::new(owner.way());
    let request = CreateServicePrincipalRequest {
        request_id: request_id(),
        name: format!("Crew's for {}", scopes[0]),
        scopes: scopes.clone(),
        ..CreateServicePrincipalRequest::default()
    };
    let principal = client.create_service_principal(request).await.unwrap().into_inner().principal.unwrap();
    let request = SetActingForRequest {
        request_id: request_id(),
        principal_id: principal.id.clone(),
        user_ids: vec![owner.user.id.clone()],
        password: PASSWORD.into(),
        ..SetActingForRequest::default()
    };
    client.set_acting_for(request).await.unwrap();
    let request = AddPrincipalCredentialRequest {
        request_id: request_id(),
        principal_id: principal.id.clone(),
        password: PASSWORD.into(),
        ..AddPrincipalCredentialRequest::default()
    };
    let secret = client.add_principal_credential(request).await.unwrap().into_inner().secret;
    let exchange = async |user_id: String| {
        let request =
            ExchangeCredentialRequest { credential: secret.clone(), user_id, ..ExchangeCredentialRequest::default() };
        let answer = PrincipalTokenServiceClient::new(door.way()).exchange_credential(request).await.unwrap();
        answer.into_inner().access_token
    };
    Principal { scopes, own: exchange(String::new()).await, delegate: exchange(owner.user.id.clone()).await }
}
