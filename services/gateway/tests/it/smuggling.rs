//! What a client may not say reaches no service, whether services are in this process or behind ports of their own.

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use diwan_access::Caller;
use diwan_proto::{
    identity::v1::{SignInRequest, SignInResponse, session_service_client::SessionServiceClient},
    team::v1::{ListTeamsRequest, ListTeamsResponse, team_service_client::TeamServiceClient},
};
use diwan_runtime::Env;
use diwan_testkit::{Person, World, reason};
use diwan_transport::{Front, Network, Peer, SERVICES};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Request, body::Body, codegen::Service as _};

use crate::support::{Scripted, encoded, gateway_to, good, listen, posted, somebody, world};

/// The headers of the last call, as a service saw them.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HeaderMap>>);

impl Seen {
    pub fn service(&self, method: &'static str, answer: &impl prost::Message) -> Scripted {
        let (seen, answer) = (self.clone(), encoded(answer));
        Scripted::default().on(method, move |request| {
            *seen.0.lock().unwrap() = request.headers().clone();
            ready(good(answer.clone()))
        })
    }

    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().contains_key(name)
    }

    /// The value of a header that is there once.
    pub fn one(&self, name: &str) -> Option<String> {
        let headers = self.0.lock().unwrap();
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap().to_owned();
        values.next().is_none().then_some(value)
    }
}

/// Two services behind a gateway, in one process and behind ports of their own.
pub async fn both(world: &World, seen: &Seen) -> [(&'static str, Front); 2] {
    let mut env = SERVICES.into_iter().fold(Env::default(), |env, service| {
        env.with(format!("DIWAN_{}_ADDRESS", service.to_uppercase()), "http://127.0.0.1:1")
    });
    let scripts = || {
        let team = seen.service("ListTeams", &ListTeamsResponse::default());
        [("team", team), ("identity", seen.service("SignIn", &SignInResponse::default()))]
    };
    for (service, script) in scripts() {
        let port = listen(world, Front::new(service, world.admission.clone(), script)).await;
        env = env.with(format!("DIWAN_{}_ADDRESS", service.to_uppercase()), format!("http://{port}"));
    }
    for (service, script) in scripts() {
        crate::support::start(world, service, script);
    }
    let remote = gateway_to(world, Network::remote(&env).unwrap(), &[]).await;
    [("local", gateway_to(world, world.network.clone(), &[]).await), ("remote", remote)]
}

const LIST_TEAMS: &str = "/diwan.team.v1.TeamService/ListTeams";
const INNER: [&str; 7] = [
    "diwan-origin-bin",
    "diwan-whatever-comes",
    "x-diwan-user",
    "grpc-internal-encoding-request",
    "grpc-previous-rpc-attempts",
    "grpc-tags-bin",
    "grpc-status",
];

fn with_inner<M>(mut request: Request<M>) -> Request<M> {
    for name in INNER {
        let headers = request.metadata_mut();
        if name.ends_with("-bin") {
            headers.insert_bin(name, tonic::metadata::MetadataValue::from_bytes(b"forged"));
        } else {
            headers.insert(name, "forged".parse().unwrap());
        }
    }
    request.extensions_mut().insert(Peer("198.51.100.7:4711".parse().unwrap()));
    request
}

#[tokio::test]
async fn internal_metadata_from_outside_reaches_no_service() {
    let (world, seen) = (world([]), Seen::default());
    for (place, gateway) in both(&world, &seen).await {
        let mut request = with_inner(world.request(&somebody(), ListTeamsRequest::default()));
        request.metadata_mut().insert("diwan-client-address", "192.0.2.1".parse().unwrap());
        request.metadata_mut().insert("diwan-gateway-token", "forged".parse().unwrap());
        request.metadata_mut().insert("accept-language", "ar".parse().unwrap());
        TeamServiceClient::new(gateway).list_teams(request).await.unwrap();
        let reached: Vec<_> = INNER.into_iter().filter(|name| seen.has(name)).collect();
        assert_eq!(reached, Vec::<&str>::new(), "{place}");
        assert!(!seen.has("diwan-gateway-token") && !seen.has("diwan-service-token"), "{place}");
        let headers = seen.0.lock().unwrap();
        assert_eq!(headers["diwan-client-address"], "198.51.100.7", "{place}: the socket's, not what the client says");
        assert_eq!(headers["accept-language"], "ar", "{place}");
        assert!(headers.contains_key("authorization"), "{place}");
    }
}

#[tokio::test]
async fn a_services_token_from_outside_opens_nothing_and_reaches_no_service() {
    let (world, seen) = (world([]), Seen::default());
    let stolen = world.signer("identity").service_token("team").unwrap().to_str().unwrap().to_owned();
    let own = world.signer("identity").service_token("gateway").unwrap().to_str().unwrap().to_owned();
    for (place, gateway) in both(&world, &seen).await {
        for token in [stolen.as_str(), own.as_str(), "forged"] {
            let mut request = world.request(&somebody(), ListTeamsRequest::default());
            request.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
            let refused = TeamServiceClient::new(gateway.clone()).list_teams(request).await.unwrap_err();
            assert!(matches!(refused.code(), Code::Unauthenticated | Code::PermissionDenied), "{place}: {refused}");
            // A public method looks at no token, and passes none on.
            let mut request = Request::new(SignInRequest::default());
            request.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
            SessionServiceClient::new(gateway.clone()).sign_in(request).await.unwrap();
            assert!(!seen.has("diwan-service-token"), "{place}");
        }
    }
}

#[tokio::test]
async fn a_caller_forged_in_the_extensions_of_a_request_is_nobody() {
    let (world, seen) = (world([]), Seen::default());
    for (place, gateway) in both(&world, &seen).await {
        let mut request = Request::new(ListTeamsRequest::default());
        request.extensions_mut().insert(Caller::Service("identity".into()));
        let refused = TeamServiceClient::new(gateway).list_teams(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"), "{place}");
    }
}

#[tokio::test]
async fn a_timeout_that_cannot_be_read_is_refused_before_any_service_works_without_one() {
    let (world, seen) = (world([]), Seen::default());
    for (place, gateway) in both(&world, &seen).await {
        let mut request = world.request(&Person::owner(), ListTeamsRequest::default());
        request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
        let refused = TeamServiceClient::new(gateway).list_teams(request).await.unwrap_err();
        let told = (refused.code(), reason(&refused));
        assert_eq!(told, (Code::InvalidArgument, "TIMEOUT_UNREADABLE".to_owned()), "{place}");
        assert!(!seen.has("authorization"), "{place}: it reached a service");
    }
}

/// The status of a raw call of `ListTeams` with these headers, and with these trailers behind its message.
async fn call(mut front: Front, headers: &[(&str, &str)], trailers: HeaderMap) -> Option<String> {
    let body = Full::new(encoded(&ListTeamsRequest::default())).with_trailers(ready(Some(Ok(trailers))));
    let request = http::Request::post(format!("http://diwan{LIST_TEAMS}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.header("content-type", "application/grpc").body(Body::new(body)).unwrap();
    let answer = front.call(request).await.unwrap();
    answer.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned())
}

/// The gateway's two, and a service's own door.
async fn doors(world: &World, seen: &Seen) -> Vec<(&'static str, Front)> {
    let own = Front::new("team", world.admission.clone(), seen.service("ListTeams", &ListTeamsResponse::default()));
    both(world, seen).await.into_iter().chain([("own door", own)]).collect()
}

const UNAUTHENTICATED: &str = "16";

#[tokio::test]
async fn of_two_tokens_none_counts() {
    let (world, seen) = (world([]), Seen::default());
    let bearer = |person: &Person| format!("Bearer {}", world.token(person));
    let (one, other) = (bearer(&somebody()), bearer(&Person::owner()));
    for (place, door) in doors(&world, &seen).await {
        let alone = call(door.clone(), &[("authorization", &one)], HeaderMap::new()).await;
        assert_eq!(alone, None, "{place}: one is good");
        for (first, second) in
            [(&*one, &*other), (&one, &one), (&one, "Bearer forged"), ("Bearer forged", &one), ("", &one)]
        {
            let two = [("authorization", first), ("Authorization", second)];
            let refused = call(door.clone(), &two, HeaderMap::new()).await;
            assert_eq!(refused.as_deref(), Some(UNAUTHENTICATED), "{place}");
        }
        let joined = format!("{one}, {other}");
        let refused = call(door, &[("authorization", &joined)], HeaderMap::new()).await;
        assert_eq!(refused.as_deref(), Some(UNAUTHENTICATED), "{place}");
    }
    let own = Front::new("team", world.admission.clone(), seen.service("ListTeams", &ListTeamsResponse::default()));
    let token = world.signer("identity").service_token("team").unwrap().to_str().unwrap().to_owned();
    let two = [("diwan-service-token", "forged"), ("diwan-service-token", &*token)];
    assert_eq!(call(own, &two, HeaderMap::new()).await.as_deref(), Some(UNAUTHENTICATED), "of services, too");
}

#[tokio::test]
async fn what_stands_in_trailers_makes_nobody_somebody() {
    let (world, seen) = (world([]), Seen::default());
    let mut trailers = HeaderMap::new();
    let service = world.signer("identity").service_token("team").unwrap().to_str().unwrap().to_owned();
    for (name, value) in [
        ("authorization", format!("Bearer {}", world.token(&Person::owner()))),
        ("diwan-service-token", service),
        ("diwan-client-address", "192.0.2.1".to_owned()),
    ] {
        trailers.insert(name, value.parse().unwrap());
    }
    for (place, door) in doors(&world, &seen).await {
        let refused = call(door, &[], trailers.clone()).await;
        assert_eq!(refused.as_deref(), Some(UNAUTHENTICATED), "{place}");
        assert!(seen.0.lock().unwrap().is_empty(), "{place}: no service has seen it");
    }
}

#[tokio::test]
async fn internal_metadata_in_another_spelling_reaches_no_service() {
    let (world, seen) = (world([]), Seen::default());
    let bearer = format!("Bearer {}", world.token(&somebody()));
    let odd = [
        "Diwan-Client-Address",
        "DIWAN-CLIENT-ADDRESS-BIN",
        "Diwan-Service-Token-Bin",
        "DIWAN-GATEWAY-TOKEN",
        "diwan-origin",
        "Diwan-Origin-Bin",
        "X-DIWAN-User",
        "GRPC-Status",
        "Grpc-Message",
    ];
    for (place, gateway) in both(&world, &seen).await {
        let headers: Vec<_> = odd.iter().map(|name| (*name, "Zm9yZ2Vk")).chain([("authorization", &*bearer)]).collect();
        assert_eq!(call(gateway, &headers, HeaderMap::new()).await, None, "{place}");
        let reached: Vec<_> = odd.into_iter().filter(|name| seen.has(name)).collect();
        // The address that the gateway tells is the socket's; here there is none.
        assert_eq!(reached, Vec::<&str>::new(), "{place}");
    }
}

#[tokio::test]
async fn internal_metadata_in_upper_case_on_the_wire_of_http1_reaches_no_service() {
    let (world, seen) = (world([]), Seen::default());
    crate::support::start(&world, "team", seen.service("ListTeams", &ListTeamsResponse::default()));
    let settings = [("DIWAN_CORS_ORIGINS", "https://app.example.com")];
    let address = listen(&world, gateway_to(&world, world.network.clone(), &settings).await).await;
    let bearer = format!("Bearer {}", world.token(&somebody()));
    let stolen = world.signer("identity").service_token("team").unwrap().to_str().unwrap().to_owned();
    let message = encoded(&ListTeamsRequest::default());
    let web = ("Content-Type", "application/grpc-web+proto");
    let odd = [
        ("DIWAN-CLIENT-ADDRESS", "192.0.2.1"),
        ("Diwan-Gateway-Token", "forged"),
        ("DIWAN-ORIGIN-BIN", "Zm9yZ2Vk"),
        ("Diwan-Whatever-Comes", "forged"),
        ("X-DIWAN-USER", "forged"),
        ("GRPC-STATUS", "0"),
        ("Grpc-Previous-Rpc-Attempts", "7"),
    ];
    let headers: Vec<_> = odd.into_iter().chain([web, ("AUTHORIZATION", &*bearer)]).collect();
    let answer = posted(address, LIST_TEAMS, &headers, &message).await;
    assert!(answer.contains("grpc-status:0") || answer.contains("grpc-status: 0"), "{answer}");
    let reached: Vec<_> = odd[1..].iter().filter(|(name, _)| seen.has(name)).collect();
    assert_eq!(reached, Vec::<&(&str, &str)>::new());
    assert_eq!(seen.one("diwan-client-address").as_deref(), Some("127.0.0.1"), "the socket's");

    *seen.0.lock().unwrap() = HeaderMap::new();
    for token in [&*stolen, "forged"] {
        let refused = posted(address, LIST_TEAMS, &[web, ("DIWAN-SERVICE-TOKEN", token)], &message).await;
        assert!(refused.contains("grpc-status: 16"), "{refused}");
        assert!(seen.0.lock().unwrap().is_empty(), "it reached a service");
    }
}
