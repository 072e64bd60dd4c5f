//! What every method does with bad fields, unknown ids, another tenant's ids and missing tokens: made from the
//! descriptors, so that a new method is tried without anybody thinking of it.

use std::collections::BTreeSet;

use diwan_access::{Rules, Signer};
use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::Topology,
};
use diwan_proto::{
    access::v1::Caller,
    conversation::v1::{IngestMessageRequest, ingest_service_client::IngestServiceClient},
    identity::v1::{
        AddPrincipalCredentialRequest, CreateServicePrincipalRequest, ExchangeCredentialRequest, ListSessionsRequest,
        credential_service_client::CredentialServiceClient,
        principal_token_service_client::PrincipalTokenServiceClient,
        service_principal_service_client::ServicePrincipalServiceClient,
    },
    team::v1::{
        CreateDepartmentRequest, CreateTeamRequest, ListTeamsRequest,
        department_service_client::DepartmentServiceClient, team_service_client::TeamServiceClient,
    },
};
use diwan_runtime::SystemClock;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    dynamic::{self, bad, message, methods, path},
    support::{self, Fresh, sign_up},
};

/// Fields in which any value is good, or bad ones are not told apart on purpose: method, field (`*` for all below), reason.
const UNCHECKED: &[(&str, &str, &str)] = &[
    ("UpdateDepartment", "department.*", "only what the mask names is looked at"),
    ("CloseAccount", "password", "it is right or not"),
    ("StartExport", "password", "it is right or not"),
    ("OfferOwnership", "password", "it is right or not"),
    ("ResetUserSecondFactors", "password", "it is right or not"),
    ("SetSecondFactorPolicy", "password", "it is right or not"),
    ("RefuseFactorRecovery", "password", "a proof is good or not"),
    ("RefuseFactorRecovery", "code", "a proof is good or not"),
    ("SendEnrolmentCode", "challenge_token", "a challenge is known or not"),
    ("UpdateProfile", "profile.*", "only what the mask names is looked at"),
    ("GetPicture", "known_etag", "a client may have any"),
    ("SetWhatsAppNumber", "current_password", "it is right or not"),
    ("RemoveWhatsAppNumber", "current_password", "it is right or not"),
    ("ConfirmWhatsAppNumber", "code", "it is right or not"),
    ("ExchangeCredential", "credential", "the same answer whatever is wrong"),
    ("UpdateServicePrincipal", "name", "only what the mask names is looked at"),
    ("UpdateServicePrincipal", "scopes", "only what the mask names is looked at"),
    ("UpdateServicePrincipal", "account_ids", "only what the mask names is looked at"),
    ("SignIn", "password", "the same answer whatever is wrong"),
    ("SignIn", "device_token", "a device is trusted or not"),
    ("BeginTotp", "*", "a proof is good or not"),
    ("ConfirmTotp", "code", "it is right or not"),
    ("DisableTotp", "password", "a proof is good or not"),
    ("DisableTotp", "code", "a proof is good or not"),
    ("EnableWhatsApp", "*", "a proof is good or not"),
    ("DisableWhatsApp", "password", "a proof is good or not"),
    ("DisableWhatsApp", "code", "a proof is good or not"),
    ("RegenerateRecoveryCodes", "*", "a proof is good or not"),
    ("SendChallengeCode", "*", "a challenge is known or not"),
    ("AnswerChallenge", "challenge_token", "a challenge is known or not"),
    ("AnswerChallenge", "code", "it is right or not"),
    ("BeginEnrolment", "*", "a challenge is known or not"),
    ("CompleteEnrolment", "*", "a challenge is known or not"),
    ("ChangePassword", "current_password", "it is right or not"),
    ("ResetPassword", "token", "a token is known or not"),
    ("RefreshSession", "refresh_token", "a token is good or refused"),
    ("AcceptInvitation", "token", "a token is known or not"),
    ("ConfirmEmail", "token", "a token is known or not"),
    ("UpdateAccount", "account.*", "only what the mask names is looked at"),
    ("ConnectMailbox", "imap.password", "a mail server's password may be anything"),
    ("ConnectMailbox", "smtp.password", "a mail server's password may be anything"),
    ("UpdateTeam", "team.*", "only what the mask names is looked at"),
    ("IngestMessage", "from_email", "a customer's mail is taken as it is"),
    ("IngestMessage", "from_name", "a customer's mail is taken as it is"),
    ("IngestMessage", "subject", "a customer's mail is taken as it is"),
    ("IngestMessage", "text", "a customer's mail is taken as it is"),
    ("IngestMessage", "rfc_message_id", "a customer's mail is taken as it is"),
    ("IngestMessage", "references", "a customer's mail is taken as it is"),
    ("SendMail", "in_reply_to", "ids of received mails may be anything; what is no id is left out of the header"),
    ("SendMail", "references", "ids of received mails may be anything; what is no id is left out of the header"),
    ("ReportDelivery", "error", "a mail server's words"),
];

fn unchecked(method: &str, field: &str) -> bool {
    UNCHECKED.iter().any(|(name, path, _)| {
        *name == method && path.strip_suffix('*').map_or(field == *path, |prefix| field.starts_with(prefix))
    })
}

/// Lists that are filtered by an id: an unknown one matches nothing.
const FILTERS: [&str; 1] = ["ListConversations"];

/// Six processes, two tenants with things of their own.
struct World {
    fresh: Fresh,
    gateway: Channel,
    rules: Rules,
    owner: Person,
    /// The token of a service principal of the owner's account.
    principal: String,
    foreign: Foreign,
}

/// What another tenant has.
struct Foreign {
    owner: Person,
    team: String,
    department: String,
    conversation: String,
    session: String,
    principal: String,
}

impl World {
    async fn new() -> Self {
        let fresh = support::start(Topology::Separate, &[]).await;
        let address = fresh.installation.gateway();
        let door = Door::open(address).await.unwrap();
        let (owner, other) = (sign_up(&door, "Home").await, sign_up(&door, "Foreign").await);
        let gateway = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let team = team(&other).await;
        let department = department(&other).await;
        let conversation = conversation(&fresh, &other, &team).await;
        let session = session(&other).await;
        let (foreign_principal, _) = principal(&other).await;
        let (_, principal) = principal(&owner).await;
        let foreign = Foreign { owner: other, team, department, conversation, session, principal: foreign_principal };
        Self { fresh, gateway, rules: Rules::load().unwrap(), owner, principal, foreign }
    }

    fn admits(&self, method: &MethodDescriptor, caller: Caller) -> bool {
        self.rules.of(&path(method)).unwrap().callers().any(|declared| declared == caller)
    }

    /// Calls a method through the gateway, or at its service's own port where only services may, as somebody who may.
    async fn call(&self, method: &MethodDescriptor, message: DynamicMessage) -> Result<DynamicMessage, Status> {
        if self.admits(method, Caller::Public) {
            return dynamic::call(&self.gateway, method, None, message).await;
        }
        if self.admits(method, Caller::User) {
            let token = format!("Bearer {}", self.owner.tokens.access_token);
            return dynamic::call(&self.gateway, method, Some(("authorization", &token)), message).await;
        }
        if self.admits(method, Caller::Operator) {
            let scope = self.rules.of(&path(method)).unwrap().scope.clone();
            let signer = self.signer("operator");
            let token = signer.operator_token("test", vec![scope], std::time::Duration::from_mins(5)).unwrap();
            return dynamic::call(&self.gateway, method, Some(("authorization", &format!("Bearer {token}"))), message)
                .await;
        }
        if self.admits(method, Caller::Principal) {
            let token = format!("Bearer {}", self.principal);
            return dynamic::call(&self.gateway, method, Some(("authorization", &token)), message).await;
        }
        let service = method.parent_service().full_name().split('.').nth(1).unwrap().to_owned();
        // Each service serves its own feed, and hands out its own data.
        let service = if ["feed", "export"].contains(&&*service) { "identity".to_owned() } else { service };
        let caller =
            self.rules.of(&path(method)).unwrap().services.first().cloned().unwrap_or_else(|| "gateway".into());
        let token = self.signer(&caller).service_token(&service).unwrap().to_str().unwrap().to_owned();
        dynamic::call(&channel(&self.fresh, &service).await, method, Some(("diwan-service-token", &token)), message)
            .await
    }

    fn signer(&self, issuer: &str) -> Signer {
        Signer::load(&self.fresh.installation.keys(), issuer, SystemClock::shared()).unwrap()
    }
}

async fn channel(fresh: &Fresh, service: &str) -> Channel {
    let address = fresh.installation.address(service).unwrap();
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn team(owner: &Person) -> String {
    let request = CreateTeamRequest { request_id: request_id(), name: "Secret".into(), ..CreateTeamRequest::default() };
    TeamServiceClient::new(owner.way()).create_team(request).await.unwrap().into_inner().team.unwrap().id
}

async fn department(owner: &Person) -> String {
    let request = CreateDepartmentRequest {
        request_id: request_id(),
        name: "Secret".into(),
        head_id: owner.user.id.clone(),
        ..CreateDepartmentRequest::default()
    };
    let answer = DepartmentServiceClient::new(owner.way()).create_department(request).await.unwrap();
    answer.into_inner().department.unwrap().id
}

async fn session(owner: &Person) -> String {
    let request = ListSessionsRequest::default();
    CredentialServiceClient::new(owner.way()).list_sessions(request).await.unwrap().into_inner().sessions[0].id.clone()
}

/// A service principal that follows the events of its account, and its token.
async fn principal(owner: &Person) -> (String, String) {
    let mut principals = ServicePrincipalServiceClient::new(owner.way());
    let create = CreateServicePrincipalRequest {
        request_id: request_id(),
        name: "Follower".into(),
        scopes: vec!["diwan.gateway.v1.EventService".into(), "diwan.conversation.v1.BotTurnService".into()],
        ..CreateServicePrincipalRequest::default()
    };
    let id = principals.create_service_principal(create).await.unwrap().into_inner().principal.unwrap().id;
    let add =
        AddPrincipalCredentialRequest { request_id: request_id(), principal_id: id.clone(), ..Default::default() };
    let credential = principals.add_principal_credential(add).await.unwrap().into_inner().secret;
    let exchange = ExchangeCredentialRequest { credential, ..ExchangeCredentialRequest::default() };
    let token = PrincipalTokenServiceClient::new(owner.way()).exchange_credential(exchange).await.unwrap();
    (id, token.into_inner().access_token)
}

async fn conversation(fresh: &Fresh, owner: &Person, team: &str) -> String {
    let signer = Signer::load(&fresh.installation.keys(), "mailbox", SystemClock::shared()).unwrap();
    let mut request = Request::new(IngestMessageRequest {
        account_id: owner.user.account_id.clone(),
        message_id: request_id(),
        mailbox_id: request_id(),
        mailbox_address: "secret@foreign.example".into(),
        team_id: team.into(),
        from_email: "customer@foreign.example".into(),
        text: "a foreign secret".into(),
        received_at: Some(std::time::SystemTime::UNIX_EPOCH.into()),
        ..IngestMessageRequest::default()
    });
    let token = signer.service_token("conversation").unwrap().to_str().unwrap().to_owned();
    request.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
    let mut client = IngestServiceClient::new(channel(fresh, "conversation").await);
    client.ingest_message(request).await.unwrap().into_inner().conversation_id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_of_every_method_is_named() {
    let world = World::new().await;
    let mut problems = Vec::new();
    for method in methods() {
        let mut filled = BTreeSet::new();
        let request = message(&method.input(), "", &mut |path, field| {
            let value = bad(field)?;
            filled.insert(path.to_owned());
            Some(value)
        });
        filled.retain(|field| !unchecked(method.name(), field));
        if filled.is_empty() {
            continue;
        }
        match world.call(&method, request).await {
            Err(status) if status.code() == Code::InvalidArgument => {
                let named =
                    status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
                let unnamed = filled.iter().filter(|field| !named.iter().any(|v| names(&v.field, field)));
                let unnamed: Vec<_> = unnamed.collect();
                if !unnamed.is_empty() {
                    problems.push(format!("{}: not named: {unnamed:?}", method.full_name()));
                }
            }
            other => problems.push(format!(
                "{}: {:?}",
                method.full_name(),
                other.map_err(|s| (s.code(), s.message().to_owned()))
            )),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Whether a violation of `violated` is about `field`: a list's entries are named `field[0]`, a whole message names its parts.
fn names(violated: &str, field: &str) -> bool {
    violated == field || violated.starts_with(&format!("{field}[")) || field.starts_with(&format!("{violated}."))
}

/// RFC 8410 section 10.1.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

/// A good value for a field, by its name; `id` gives the values of ids.
fn good(path: &str, field: &FieldDescriptor, id: &dyn Fn(&str) -> String) -> Option<Value> {
    let name = path.rsplit('.').next().unwrap();
    let text = |text: &str| Some(Value::String(text.to_owned()));
    if name == "request_id" {
        return Some(Value::String(request_id()));
    }
    if matches!(path, "team.id" | "department.id")
        || (name.ends_with("_id") || name.ends_with("_ids")) && field.kind() == Kind::String
    {
        // A team that sees others' conversations is a setting of its own; here it stays empty.
        return (name != "wide_team_ids").then(|| Value::String(id(path)));
    }
    match (name, field.kind()) {
        ("scopes", _) => text("diwan.team.v1.TeamService"),
        ("public_key", _) => text(PUBLIC_KEY),
        ("email" | "address", _) => Some(Value::String(format!("{}@tests.example", request_id()))),
        ("language" | "languages", _) => text("en"),
        ("country" | "countries", _) => text("EG"),
        ("host", _) => text("127.0.0.1"),
        ("time_zone", _) => text("UTC"),
        ("password" | "current_password" | "new_password", _) => text(support::PASSWORD),
        ("token" | "cursor" | "grants", _) => None,
        ("port", _) => Some(Value::I32(1)),
        ("seats", _) => Some(Value::I32(5)),
        ("days", Kind::Message(inner)) => {
            let mut day = DynamicMessage::new(inner.clone());
            day.set_field_by_name("weekday", Value::EnumNumber(1));
            let shifts = inner.get_field_by_name("shifts")?;
            let Kind::Message(shift) = shifts.kind() else { return None };
            day.set_field(&shifts, Value::List(vec![Value::Message(DynamicMessage::new(shift))]));
            Some(Value::Message(day))
        }
        // A past period.
        ("from" | "to", Kind::Message(inner)) => {
            let now = diwan_runtime::Clock::now(&SystemClock).as_second();
            let mut time = DynamicMessage::new(inner);
            time.set_field_by_name("seconds", Value::I64(if name == "from" { now - 7200 } else { now - 3600 }));
            Some(Value::Message(time))
        }
        ("until", Kind::Message(inner)) => {
            let in_an_hour = diwan_runtime::clock::after(
                diwan_runtime::Clock::now(&SystemClock),
                std::time::Duration::from_hours(1),
            );
            let mut time = DynamicMessage::new(inner);
            time.set_field_by_name("seconds", Value::I64(in_an_hour.as_second()));
            Some(Value::Message(time))
        }
        ("holidays", _) => text("2026-12-25"),
        ("security" | "role", _) => Some(Value::EnumNumber(3)),
        ("update_mask", Kind::Message(inner)) => {
            let mut mask = DynamicMessage::new(inner);
            mask.set_field_by_name("paths", Value::List(vec![Value::String("name".into())]));
            Some(Value::Message(mask))
        }
        (_, Kind::String) => text("Some text"),
        (_, Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        (_, Kind::Message(inner)) if inner.full_name() == "diwan.common.v1.PageRequest" => {
            Some(Value::Message(DynamicMessage::new(inner)))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_ids_are_refused_exactly_as_unknown_ones() {
    let world = World::new().await;
    let mut problems = Vec::new();
    let mut tried = 0;
    for method in methods() {
        if !world.admits(&method, Caller::User) {
            continue;
        }
        let ids = std::cell::Cell::new(0);
        let unknown = message(&method.input(), "", &mut |path, field| good(path, field, &|_| request_id()));
        let foreign = message(&method.input(), "", &mut |path, field| {
            good(path, field, &|path| {
                world.foreign.id(path).inspect(|_| ids.set(ids.get() + 1)).unwrap_or_else(request_id)
            })
        });
        if ids.get() == 0 {
            continue;
        }
        tried += 1;
        let (unknown, foreign) = (world.call(&method, unknown).await, world.call(&method, foreign).await);
        problems.extend(differences(&world, &method, unknown, foreign));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(tried >= 15, "only {tried} methods take ids: is the test still reading the descriptors?");
}

impl Foreign {
    /// The other tenant's id for a field of this name.
    fn id(&self, path: &str) -> Option<String> {
        match path {
            "team_id" | "team.id" | "team_ids" | "receiving_team_id" => Some(self.team.clone()),
            "department_id" | "department.id" => Some(self.department.clone()),
            "user_id" | "holder_id" | "head_id" => Some(self.owner.user.id.clone()),
            "conversation_id" => Some(self.conversation.clone()),
            "session_id" => Some(self.session.clone()),
            "principal_id" => Some(self.principal.clone()),
            "account_ids" => Some(self.owner.user.account_id.clone()),
            _ => None,
        }
    }
}

fn differences(
    world: &World,
    method: &MethodDescriptor,
    unknown: Result<DynamicMessage, Status>,
    foreign: Result<DynamicMessage, Status>,
) -> Option<String> {
    let name = method.full_name();
    match (unknown, foreign) {
        (Ok(unknown), Ok(foreign)) if FILTERS.contains(&method.name()) && unknown == foreign => None,
        (Err(unknown), Err(foreign)) => {
            let seen = |status: &Status| {
                (status.code(), status.get_details_error_info().map(|info| info.reason), status.message().to_owned())
            };
            let shown = format!("{foreign:?}");
            if unknown.code() != Code::NotFound {
                Some(format!("{name}: an unknown id gets {:?}", seen(&unknown)))
            } else if seen(&unknown) != seen(&foreign) {
                Some(format!("{name}: {:?} for an unknown id, {:?} for a foreign one", seen(&unknown), seen(&foreign)))
            } else if ["Secret", "foreign secret", &world.foreign.owner.user.email]
                .iter()
                .any(|byte| shown.contains(byte))
            {
                Some(format!("{name}: tells something of the other tenant: {shown}"))
            } else {
                None
            }
        }
        (unknown, foreign) => Some(format!("{name}: {unknown:?} for an unknown id, {foreign:?} for a foreign one")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_is_not_public_needs_a_token_at_the_gateway_and_at_the_service() {
    let world = World::new().await;
    let mut problems = Vec::new();
    for method in methods().iter().filter(|method| !world.admits(method, Caller::Public)) {
        let service = method.parent_service().full_name().split('.').nth(1).unwrap().to_owned();
        let mut doors = vec![world.gateway.clone()];
        if world.fresh.installation.address(&service).is_some() {
            doors.push(channel(&world.fresh, &service).await);
        }
        for door in doors {
            let answer = dynamic::call(&door, method, None, DynamicMessage::new(method.input())).await;
            let code = answer.as_ref().err().map(Status::code);
            if code != Some(Code::Unauthenticated) {
                problems.push(format!("{}: {answer:?}", method.full_name()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_nothing_of_another_tenant() {
    let world = World::new().await;
    let answer = TeamServiceClient::new(world.owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
    let names: Vec<_> = answer.into_inner().teams.into_iter().map(|team| team.name).collect();
    assert_eq!(names, ["General"]);
}
