//! Diwan as an operator meets it: the real grpcurl, which knows reflection v1alpha, and a client of reflection v1.

use std::{path::Path, process::Output};

use diwan_e2e::{door::Door, installation::Topology};
use tokio::process::Command;
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{Fresh, sign_up, start};

async fn grpcurl(arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.diwan/bin/grpcurl");
    assert!(program.exists(), "grpcurl is not there: run deploy/local/tools.sh grpcurl");
    Command::new(program).arg("-plaintext").args(arguments).output().await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The services that the gateway lists, and a method of each that an owner calls without arguments; the last one ends his
/// session.
const CALLS: &[(&str, &str)] = &[
    ("diwan.identity.v1.ClosingService", "UndoClosing"),
    ("diwan.identity.v1.ExportService", "GetExport"),
    ("diwan.identity.v1.ProfileService", "GetPicture"),
    ("diwan.billing.v1.SeatService", "ListSeats"),
    ("diwan.billing.v1.SubscriptionService", "GetSubscription"),
    ("diwan.conversation.v1.ArchiveService", "GetArchiveProgress"),
    ("diwan.conversation.v1.BotService", "ListBots"),
    ("diwan.conversation.v1.BotTurnService", "ListBotTurns"),
    ("diwan.conversation.v1.CheckerService", "CheckRouting"),
    ("diwan.conversation.v1.ContactGroupService", "ListContactGroups"),
    ("diwan.conversation.v1.ConversationService", "ListConversations"),
    ("diwan.conversation.v1.DecisionService", "ExplainRouting"),
    ("diwan.conversation.v1.BoardService", "GetBoard"),
    ("diwan.conversation.v1.HandlingService", "GetQueuePosition"),
    ("diwan.conversation.v1.InboxService", "ListAvailability"),
    ("diwan.conversation.v1.NoteService", "ListNotes"),
    ("diwan.conversation.v1.PresenceService", "Heartbeat"),
    ("diwan.conversation.v1.RoutingRuleService", "ListRoutingRules"),
    ("diwan.conversation.v1.SimulationService", "SimulateRouting"),
    ("diwan.conversation.v1.TopicService", "ListTopics"),
    ("diwan.gateway.v1.BootstrapService", "GetBootstrap"),
    ("diwan.gateway.v1.EventService", "WatchEvents"),
    ("diwan.identity.v1.AccountService", "GetAccount"),
    ("diwan.identity.v1.ChallengeService", "SendChallengeCode"),
    ("diwan.identity.v1.AuditInspectionService", "InspectAuditEntries"),
    ("diwan.identity.v1.AuditService", "ListAuditEntries"),
    ("diwan.identity.v1.CredentialService", "ListSessions"),
    ("diwan.identity.v1.DeviceService", "ListDevices"),
    ("diwan.identity.v1.FactorRecoveryService", "GetFactorRecovery"),
    ("diwan.identity.v1.InvitationService", "ListInvitations"),
    ("diwan.identity.v1.OperatorService", "ListOperatorRevocations"),
    ("diwan.identity.v1.OwnershipService", "GetOwnershipOffer"),
    ("diwan.identity.v1.PrincipalTokenService", "ExchangeCredential"),
    ("diwan.identity.v1.RoleService", "ListPages"),
    ("diwan.identity.v1.SecondFactorService", "GetSecondFactors"),
    ("diwan.identity.v1.ServicePrincipalService", "ListServicePrincipals"),
    ("diwan.identity.v1.SigningKeyService", "GetKeySet"),
    ("diwan.identity.v1.UserService", "ListUsers"),
    ("diwan.identity.v1.WhatsAppNumberService", "GetWhatsAppNumber"),
    ("diwan.mailbox.v1.MailboxService", "ListMailboxes"),
    ("diwan.team.v1.ArchiveService", "ListArchivedTeams"),
    ("diwan.team.v1.DepartmentService", "ListDepartments"),
    ("diwan.team.v1.HoursService", "GetWorkingHours"),
    ("diwan.team.v1.MembershipService", "ListMyTeams"),
    ("diwan.team.v1.TeamService", "ListTeams"),
    ("grpc.health.v1.Health", "Check"),
    ("diwan.identity.v1.SessionService", "SignOut"),
];

/// What those of them answer that want an argument or another caller, or that find nothing in a new account.
const REFUSALS: &[(&str, &str)] = &[
    ("GetArchiveProgress", "InvalidArgument"),
    ("GetBoard", "InvalidArgument"),
    ("ListBotTurns", "PermissionDenied"),
    ("ListNotes", "InvalidArgument"),
    ("UndoClosing", "InvalidArgument"),
    ("GetExport", "NotFound"),
    ("GetPicture", "NotFound"),
    ("WatchEvents", "PermissionDenied"),
    ("CheckRouting", "PermissionDenied"),
    ("GetFactorRecovery", "PermissionDenied"),
    ("InspectAuditEntries", "PermissionDenied"),
    ("ListOperatorRevocations", "PermissionDenied"),
    ("ExchangeCredential", "InvalidArgument"),
    ("SendChallengeCode", "InvalidArgument"),
    ("GetQueuePosition", "InvalidArgument"),
    ("ExplainRouting", "InvalidArgument"),
    ("SimulateRouting", "InvalidArgument"),
    ("GetOwnershipOffer", "NotFound"),
    ("GetWorkingHours", "InvalidArgument"),
];

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_calls_every_service_that_the_gateway_offers() {
    for topology in [Topology::Suite, Topology::Separate] {
        let fresh = start(topology, &[]).await;
        let address = fresh.installation.gateway().to_string();
        let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Example").await;
        let bearer = format!("authorization: Bearer {}", owner.tokens.access_token);

        let listed = grpcurl(&[&address, "list"]).await;
        assert!(listed.status.success(), "{}", text(&listed));
        let listed = text(&listed);
        for service in listed.lines().filter(|line| line.starts_with("diwan.")) {
            let described = grpcurl(&[&address, "describe", service]).await;
            assert!(described.status.success(), "{service}: {}", text(&described));
            assert!(CALLS.iter().any(|(called, _)| *called == service), "{service} has no call in this test");
        }
        for (service, method) in CALLS {
            assert!(listed.contains(service), "{service} is not listed:\n{listed}");
            let called = grpcurl(&["-H", &bearer, &address, &format!("{service}/{method}")]).await;
            let refused = REFUSALS.iter().any(|(name, code)| name == method && text(&called).contains(code));
            assert!(called.status.success() || refused, "{service}/{method}: {}", text(&called));
        }
        answers_strangers_with_a_reason_in_their_language(&address).await;
        each_service_lists_its_own(&fresh).await;
        fresh.installation.stop().await.unwrap();
    }
}

async fn answers_strangers_with_a_reason_in_their_language(address: &str) {
    let refused = grpcurl(&["-H", "accept-language: ar", address, "diwan.identity.v1.AccountService/GetAccount"]).await;
    let shown = text(&refused);
    assert!(!refused.status.success() && shown.contains("Unauthenticated"), "{shown}");
    assert!(shown.contains("UNAUTHENTICATED") && shown.contains("رمز دخول"), "{shown}");
}

async fn each_service_lists_its_own(fresh: &Fresh) {
    for service in ["identity", "team", "conversation", "mailbox", "billing"] {
        let Some(address) = fresh.installation.address(service) else { return };
        let listed = grpcurl(&[&address.to_string(), "list"]).await;
        assert!(text(&listed).contains(&format!("diwan.{service}.v1.")), "{}", text(&listed));
        let health = grpcurl(&[&address.to_string(), "grpc.health.v1.Health/Check"]).await;
        assert!(text(&health).contains("SERVING"), "{}", text(&health));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_reflection_v1_finds_the_services_and_their_methods() {
    let fresh = start(Topology::Suite, &[]).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", fresh.installation.gateway())).unwrap();
    let mut client = ServerReflectionClient::new(endpoint.connect().await.unwrap());
    let ask = |message_request| ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let requests = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("diwan.team.v1.TeamService.CreateTeam".into())),
    ];
    let mut answers = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let listed = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"diwan.team.v1.TeamService".to_owned()), "{names:?}");
    assert!(!names.contains(&"diwan.identity.v1.RevocationService".to_owned()), "{names:?}");
    let file = answers.next().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
}
