//! The audit log of the whole: what is done in every service stands in it, and every call of an operator does.

use std::{collections::BTreeSet, time::Duration};

use diwan_access::{Rules, Signer};
use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::Topology,
};
use diwan_proto::{
    access::v1::Caller,
    audit::v1::ActorKind,
    billing::v1::{SetSeatLimitRequest, subscription_service_client::SubscriptionServiceClient},
    common::v1::PageRequest,
    conversation::v1::{
        IngestMessageRequest, TakeConversationRequest, conversation_service_client::ConversationServiceClient,
        ingest_service_client::IngestServiceClient,
    },
    identity::v1::{
        AuditEntry, AuditFilter, AuditFlaw, GetAuditHeadRequest, InspectAuditEntriesRequest, InviteUserRequest,
        ListAuditEntriesRequest, VerifyAuditLogRequest, audit_inspection_service_client::AuditInspectionServiceClient,
        audit_service_client::AuditServiceClient, user_service_client::UserServiceClient,
    },
    team::v1::{CreateTeamRequest, Team, UpdateTeamRequest, team_service_client::TeamServiceClient},
};
use diwan_runtime::SystemClock;
use diwan_testkit::eventually;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::{
    Code, Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::{
    dynamic::{self, methods, path},
    support::{Fresh, PASSWORD, sign_up, start},
};

const LIMIT: Duration = Duration::from_mins(1);
/// What a customer writes stands in no log.
const WORDS: &str = "my cat ate the invoice";

fn operator(fresh: &Fresh, scope: &str) -> String {
    operator_called(fresh, "night-watch", scope)
}

fn operator_called(fresh: &Fresh, name: &str, scope: &str) -> String {
    let signer = Signer::load(&fresh.installation.keys(), "operator", SystemClock::shared()).unwrap();
    signer.operator_token(name, vec![scope.into()], Duration::from_mins(5)).unwrap()
}

fn bearing<M>(token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

async fn channel(address: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn entries(owner: &Person) -> Vec<AuditEntry> {
    let page = Some(PageRequest { size: 200, token: String::new() });
    let request = ListAuditEntriesRequest { filter: None, page };
    AuditServiceClient::new(owner.way()).list_audit_entries(request).await.unwrap().into_inner().entries
}

/// Something in every service, and what its method is called.
async fn act(fresh: &Fresh, owner: &Person) -> Vec<&'static str> {
    let mut teams = TeamServiceClient::new(owner.way());
    let create = CreateTeamRequest { request_id: request_id(), name: "Sales".into(), ..Default::default() };
    let team = teams.create_team(create).await.unwrap().into_inner().team.unwrap();
    let update = UpdateTeamRequest {
        request_id: request_id(),
        team: Some(Team { id: team.id.clone(), name: "Support".into(), ..Team::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".into()] }),
    };
    teams.update_team(update).await.unwrap();
    let invite = InviteUserRequest {
        request_id: request_id(),
        name: "Bo".into(),
        email: format!("{}@tests.example", request_id()),
        role: 3,
        team_ids: vec![team.id.clone()],
        ..InviteUserRequest::default()
    };
    UserServiceClient::new(owner.way()).invite_user(invite).await.unwrap();
    let conversation = ingest(fresh, owner, &team.id).await;
    let take = TakeConversationRequest { request_id: request_id(), conversation_id: conversation };
    ConversationServiceClient::new(owner.way()).take_conversation(take).await.unwrap();
    let limit = SetSeatLimitRequest { request_id: request_id(), account_id: owner.user.account_id.clone(), seats: 9 };
    let mut subscriptions = SubscriptionServiceClient::new(channel(fresh.installation.gateway()).await);
    subscriptions.set_seat_limit(bearing(&operator(fresh, "billing.write"), limit)).await.unwrap();
    vec![
        "SignUp",
        "SignIn",
        "CreateTeam",
        "UpdateTeam",
        "InviteUser",
        "IngestMessage",
        "TakeConversation",
        "SetSeatLimit",
    ]
}

async fn ingest(fresh: &Fresh, owner: &Person, team: &str) -> String {
    let signer = Signer::load(&fresh.installation.keys(), "mailbox", SystemClock::shared()).unwrap();
    let mut request = Request::new(IngestMessageRequest {
        account_id: owner.user.account_id.clone(),
        message_id: request_id(),
        mailbox_id: request_id(),
        mailbox_address: "support@tests.example".into(),
        team_id: team.into(),
        from_email: "customer@elsewhere.example".into(),
        subject: WORDS.into(),
        text: WORDS.into(),
        received_at: Some(std::time::SystemTime::UNIX_EPOCH.into()),
        ..IngestMessageRequest::default()
    });
    let token: MetadataValue<_> = signer.service_token("conversation").unwrap().to_str().unwrap().parse().unwrap();
    request.metadata_mut().insert("diwan-service-token", token);
    let conversation = channel(fresh.installation.address("conversation").unwrap()).await;
    IngestServiceClient::new(conversation).ingest_message(request).await.unwrap().into_inner().conversation_id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_in_every_service_stands_in_one_log_without_secrets_and_texts() {
    let fresh = start(Topology::Separate, &[]).await;
    let door = Door::open(fresh.installation.gateway()).await.unwrap();
    let owner = sign_up(&door, "Example").await;
    let done = act(&fresh, &owner).await;
    let log = eventually("everything stands in the log", LIMIT, async || {
        let log = entries(&owner).await;
        let called = |method: &&str| {
            let is_change = |entry: &&AuditEntry| entry.event != "OPERATOR_CALL";
            let mut origins = log.iter().filter(is_change).map(|entry| entry.origin.as_ref().unwrap());
            origins.any(|origin| origin.method.ends_with(&format!("/{method}")))
        };
        done.iter().all(called).then_some(log)
    })
    .await;
    let of = |method: &str| {
        let found = log.iter().find(|entry| {
            entry.origin.as_ref().unwrap().method.ends_with(&format!("/{method}")) && entry.event.is_empty()
        });
        found.unwrap_or_else(|| panic!("no change of {method} in {log:#?}"))
    };
    let update = of("UpdateTeam");
    let origin = update.origin.as_ref().unwrap();
    assert_eq!(
        (origin.actor(), &*origin.actor_id, &*origin.client_address),
        (ActorKind::User, &*owner.user.id, "127.0.0.1")
    );
    let name = |thing: &Option<prost_types::Struct>| format!("{:?}", thing.as_ref().unwrap().fields["name"]);
    assert!(name(&update.before).contains("Sales") && name(&update.after).contains("Support"), "{update:#?}");
    let limit = of("SetSeatLimit").origin.clone().unwrap();
    assert_eq!((limit.actor(), &*limit.actor_name), (ActorKind::Operator, "night-watch"));
    // What billing does for an invitation, the owner does through identity.
    let is_his = |entry: &&AuditEntry| {
        let origin = entry.origin.as_ref().unwrap();
        entry.entity_kind == "diwan.billing.v1.Seat" && origin.through == "identity" && origin.actor_id == owner.user.id
    };
    assert!(log.iter().any(|entry| is_his(&entry)), "{log:#?}");
    let services: BTreeSet<_> = log.iter().map(|entry| entry.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["billing", "conversation", "identity", "team"]));

    let written = format!("{log:?}");
    let secrets = [PASSWORD, WORDS, &owner.tokens.refresh_token, "customer@elsewhere.example"];
    for secret in secrets {
        assert!(!written.contains(secret), "{secret}");
    }
    verified(&fresh, &owner).await;
    fresh.installation.stop().await.unwrap();
}

async fn verified(fresh: &Fresh, owner: &Person) {
    let head = AuditServiceClient::new(owner.way()).get_audit_head(GetAuditHeadRequest {}).await.unwrap();
    let head = head.into_inner().head.unwrap();
    let verify = VerifyAuditLogRequest { account_id: owner.user.account_id.clone(), heads: vec![head.signed] };
    let mut operators = AuditInspectionServiceClient::new(channel(fresh.installation.gateway()).await);
    let verified = operators.verify_audit_log(bearing(&operator(fresh, "audit.read"), verify)).await.unwrap();
    assert_eq!(verified.into_inner().flaw(), AuditFlaw::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_for_operators_writes_the_call_down_also_when_it_refuses() {
    let fresh = start(Topology::Separate, &[]).await;
    let gateway = channel(fresh.installation.gateway()).await;
    let rules = Rules::load().unwrap();
    let for_operators = methods()
        .into_iter()
        .filter(|method| rules.of(&path(method)).unwrap().callers().any(|caller| caller == Caller::Operator));
    let mut called = BTreeSet::new();
    for method in for_operators {
        let token = format!("Bearer {}", operator(&fresh, &rules.of(&path(&method)).unwrap().scope));
        let message = DynamicMessage::new(method.input());
        // Whether it is answered or refused does not matter here.
        let _ = dynamic::call(&gateway, &method, Some(("authorization", &token)), message).await;
        called.insert(path(&method).trim_start_matches('/').to_owned());
    }
    assert!(called.len() >= 4, "{called:?}");
    // Who looks here is written down, too.
    let token = operator_called(&fresh, "reader", "audit.read");
    eventually("every call stands in the installation's log", LIMIT, async || {
        let request = InspectAuditEntriesRequest {
            account_id: String::new(),
            filter: Some(AuditFilter { actor: "night-watch".into(), ..AuditFilter::default() }),
            page: Some(PageRequest { size: 200, token: String::new() }),
        };
        let mut operators = AuditInspectionServiceClient::new(gateway.clone());
        let answer = operators.inspect_audit_entries(bearing(&token, request)).await.unwrap().into_inner();
        let written: BTreeSet<_> = answer.entries.into_iter().map(|entry| entry.origin.unwrap().method).collect();
        called.is_subset(&written)
    })
    .await;
    fresh.installation.stop().await.unwrap();
}

/// What the log of the installation says of the operator `name`: the event and the method of each call, in no order.
async fn told_of(gateway: &Channel, token: &str, name: &str) -> Vec<(String, String)> {
    let (mut page, mut told) = (String::new(), Vec::new());
    loop {
        let request = InspectAuditEntriesRequest {
            account_id: String::new(),
            filter: Some(AuditFilter { actor: name.into(), ..AuditFilter::default() }),
            page: Some(PageRequest { size: 200, token: page }),
        };
        let mut operators = AuditInspectionServiceClient::new(gateway.clone());
        let answer = operators.inspect_audit_entries(bearing(token, request)).await.unwrap().into_inner();
        told.extend(answer.entries.into_iter().map(|entry| (entry.event, entry.origin.unwrap().method)));
        page = answer.page.unwrap().next_token;
        if page.is_empty() {
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_no_scope_of_an_operator_allows_is_written_down_once_wherever_he_knocks() {
    let fresh = start(Topology::Separate, &[]).await;
    let gateway = channel(fresh.installation.gateway()).await;
    let rules = Rules::load().unwrap();
    let public = |method: &MethodDescriptor| rules.of(&path(method)).unwrap().callers().any(|it| it == Caller::Public);
    let closed: Vec<_> = methods().into_iter().filter(|method| !public(method)).collect();
    let through = format!("Bearer {}", operator_called(&fresh, "through", "no.such.scope"));
    let direct = format!("Bearer {}", operator_called(&fresh, "direct", "no.such.scope"));
    let (mut at_gateway, mut at_services) = (Vec::new(), Vec::new());
    for method in &closed {
        let name = path(method).trim_start_matches('/').to_owned();
        let refused = async |door: &Channel, token: &str| {
            let answer =
                dynamic::call(door, method, Some(("authorization", token)), DynamicMessage::new(method.input()));
            let status = answer.await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{name}: {status:?}");
        };
        refused(&gateway, &through).await;
        at_gateway.push(("OPERATOR_CALL_REFUSED".to_owned(), name.clone()));
        if let Some(address) = name.split('.').nth(1).and_then(|service| fresh.installation.address(service)) {
            refused(&channel(address).await, &direct).await;
            at_services.push(("OPERATOR_CALL_REFUSED".to_owned(), name.clone()));
        }
    }
    // Whose name nobody knows: a token that somebody changed.
    let forged = format!("Bearer {}x", operator_called(&fresh, "forged", "audit.read"));
    let status =
        dynamic::call(&gateway, &closed[0], Some(("authorization", &forged)), DynamicMessage::new(closed[0].input()));
    assert_eq!(status.await.unwrap_err().code(), Code::Unauthenticated);
    let reader = operator_called(&fresh, "reader", "audit.read");
    for (name, mut expected) in [("through", at_gateway), ("direct", at_services)] {
        let mut told = eventually("every refusal stands in the installation's log", LIMIT, async || {
            Some(told_of(&gateway, &reader, name).await).filter(|told| told.len() >= expected.len())
        })
        .await;
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "each once, at {name}");
    }
    assert_eq!(told_of(&gateway, &reader, "forged").await, []);
    fresh.installation.stop().await.unwrap();
}
