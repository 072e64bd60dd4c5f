//! What every method does with bad fields, unknown ids, another tenant's ids and missing tokens: made from the
//! descriptors, so that a new method is tried without anybody thinking of it.

mod bad_fields;
mod tenants;
mod tokens;

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
    let add = AddPrincipalCredentialRequest {
        request_id: request_id(),
        principal_id: id.clone(),
        password: support::PASSWORD.into(),
        ..Default::default()
    };
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
