//! What a client may not say is refused and reaches no service, whether services are in this process or behind ports of their own.

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use diwan_access::Caller;
use diwan_proto::{
    identity::v1::SignInResponse,
    team::v1::{ListTeamsRequest, ListTeamsResponse, team_service_client::TeamServiceClient},
};
use diwan_runtime::Env;
use diwan_testkit::{Person, World, metadata, reason};
use diwan_transport::{Front, Network, Peer, SERVICES};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Request, Status, body::Body, codegen::Service as _, transport::Endpoint};
use tonic_types::StatusExt as _;

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
const SIGN_IN: &str = "/diwan.identity.v1.SessionService/SignIn";
/// What only the inside says, in one spelling or another.
const INNER: [&str; 9] = [
    "diwan-service-token",
    "Diwan-Service-Token-Bin",
    "DIWAN-GATEWAY-TOKEN",
    "diwan-client-address",
    "DIWAN-CLIENT-ADDRESS-BIN",
    "diwan-origin",
    "Diwan-Origin-Bin",
    "diwan-whatever-comes",
    "X-DIWAN-User",
];

#[tokio::test]
async fn who_says_what_only_services_say_is_unauthenticated_at_every_method_and_told_which_header_it_was() {
    let (world, seen) = (world([]), Seen::default());
    let bearer = format!("Bearer {}", world.token(&somebody()));
    let good = world.signer("identity").service_token("gateway").unwrap().to_str().unwrap().to_owned();
    let address = ("diwan-client-address", "127.0.0.1");
    for (place, gateway) in both(&world, &seen).await {
        // One that is forwarded, one that is public, those that the gateway answers itself, and one that is nowhere.
        for path in [
            LIST_TEAMS,
            SIGN_IN,
            "/diwan.gateway.v1.BootstrapService/GetBootstrap",
            "/grpc.health.v1.Health/Check",
            "/nothing",
        ] {
            for (name, value) in INNER.map(|name| (name, &*good)).into_iter().chain([address]) {
                let answer = call(gateway.clone(), path, &[("authorization", &bearer), (name, value)]).await;
                let refused = answer.expect_err(name);
                let told = (refused.code(), reason(&refused), metadata(&refused, "header"));
                let wanted = (Code::Unauthenticated, "INTERNAL_METADATA".to_owned(), Some(name.to_lowercase()));
                assert_eq!(told, wanted, "{place} {path}");
            }
        }
        assert!(seen.0.lock().unwrap().is_empty(), "{place}: it reached a service");
        assert_eq!(call(gateway, LIST_TEAMS, &[("authorization", &bearer)]).await.err().map(|no| no.code()), None);
        *seen.0.lock().unwrap() = HeaderMap::new();
    }
}

#[tokio::test]
async fn the_text_names_the_header_in_the_readers_language_however_long_the_name_is() {
    let (world, seen) = (world([]), Seen::default());
    let long = format!("diwan-{}", "x".repeat(10_000));
    for (_, gateway) in both(&world, &seen).await {
        let mut texts = Vec::new();
        for language in ["ar", "en", "es", "pt"] {
            let headers = [("accept-language", language), ("x-diwan-user", "forged")];
            let refused = call(gateway.clone(), SIGN_IN, &headers).await.unwrap_err();
            let text = refused.get_details_localized_message().unwrap();
            assert!(text.locale == language && text.message.contains("x-diwan-user"), "{text:?}");
            texts.push(text.message);
        }
        texts.dedup();
        assert_eq!(texts.len(), 4, "{texts:?}");
        let refused = call(gateway, SIGN_IN, &[(&*long, "forged")]).await.unwrap_err();
        assert!(metadata(&refused, "header").unwrap().len() < 1100, "{refused}");
    }
}

#[tokio::test]
async fn what_clients_and_proxies_add_by_themselves_is_no_offence_and_what_is_grpcs_own_goes_no_further() {
    let (world, seen) = (world([]), Seen::default());
    let bearer = format!("Bearer {}", world.token(&somebody()));
    let innocent = [
        ("accept-language", "ar"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("baggage", "a=b"),
        ("x-request-id", "1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 proxy"),
        ("user-agent", "grpc-go/1.70.0 diwan-client/1.0"),
        ("x-user-agent", "grpc-web-javascript/0.1"),
        ("x-my-diwan-client", "1"),
        ("cookie", "diwan-session=1"),
    ];
    let reserved = ["grpc-previous-rpc-attempts", "grpc-tags-bin", "GRPC-Trace-Bin", "Grpc-Status", "grpc-message"];
    for (place, gateway) in both(&world, &seen).await {
        let own = [("authorization", &*bearer), ("grpc-timeout", "20S"), ("grpc-accept-encoding", "identity")];
        let headers: Vec<_> = innocent.into_iter().chain(own).chain(reserved.map(|name| (name, "1"))).collect();
        call(gateway, LIST_TEAMS, &headers).await.unwrap();
        let reached: Vec<_> = reserved.into_iter().filter(|name| seen.has(name)).collect();
        assert_eq!(reached, Vec::<&str>::new(), "{place}");
        // Of the trace it depends on where this process sends its own.
        for (name, value) in innocent.into_iter().filter(|(name, _)| !name.starts_with("trace")) {
            assert_eq!(seen.one(name).as_deref(), Some(value), "{place} {name}");
        }
        assert_eq!(seen.one("diwan-client-address").as_deref(), Some("198.51.100.7"), "{place}: the socket's");
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

/// What came of a raw call with these headers.
async fn call(front: Front, path: &str, headers: &[(&str, &str)]) -> Result<(), Status> {
    call_with(front, path, headers, HeaderMap::new()).await
}

/// As [`call`], with trailers behind the message.
async fn call_with(mut front: Front, path: &str, headers: &[(&str, &str)], trailers: HeaderMap) -> Result<(), Status> {
    let body = Full::new(encoded(&ListTeamsRequest::default())).with_trailers(ready(Some(Ok(trailers))));
    let request = http::Request::post(format!("http://diwan{path}")).header("content-type", "application/grpc");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.extension(Peer("198.51.100.7:4711".parse().unwrap())).body(Body::new(body)).unwrap();
    let answer = front.call(request).await.unwrap();
    Status::from_header_map(answer.headers()).map_or(Ok(()), Err)
}

/// The gateway's two, and a service's own door.
async fn doors(world: &World, seen: &Seen) -> Vec<(&'static str, Front)> {
    let own = Front::new("team", world.admission.clone(), seen.service("ListTeams", &ListTeamsResponse::default()));
    both(world, seen).await.into_iter().chain([("own door", own)]).collect()
}

fn is_unauthenticated(answer: Result<(), Status>) -> bool {
    answer.is_err_and(|refused| refused.code() == Code::Unauthenticated)
}

#[tokio::test]
async fn of_two_tokens_none_counts() {
    let (world, seen) = (world([]), Seen::default());
    let bearer = |person: &Person| format!("Bearer {}", world.token(person));
    let (one, other) = (bearer(&somebody()), bearer(&Person::owner()));
    for (place, door) in doors(&world, &seen).await {
        call(door.clone(), LIST_TEAMS, &[("authorization", &one)]).await.expect("one is good");
        for (first, second) in
            [(&*one, &*other), (&one, &one), (&one, "Bearer forged"), ("Bearer forged", &one), ("", &one)]
        {
            let two = [("authorization", first), ("Authorization", second)];
            assert!(is_unauthenticated(call(door.clone(), LIST_TEAMS, &two).await), "{place}");
        }
        let joined = format!("{one}, {other}");
        assert!(is_unauthenticated(call(door, LIST_TEAMS, &[("authorization", &joined)]).await), "{place}");
    }
    let own = Front::new("team", world.admission.clone(), seen.service("ListTeams", &ListTeamsResponse::default()));
    let token = world.signer("identity").service_token("team").unwrap().to_str().unwrap().to_owned();
    let two = [("diwan-service-token", "forged"), ("diwan-service-token", &*token)];
    assert!(is_unauthenticated(call(own, LIST_TEAMS, &two).await), "of services, too");
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
        let answer = call_with(door, LIST_TEAMS, &[], trailers.clone()).await;
        assert!(is_unauthenticated(answer), "{place}");
        assert!(seen.0.lock().unwrap().is_empty(), "{place}: no service has seen it");
    }
}

#[tokio::test]
async fn a_page_or_program_that_speaks_http1_is_refused_just_so_also_by_connection_headers_and_where_keys_are_served() {
    let (world, seen) = (world([]), Seen::default());
    crate::support::start(&world, "team", seen.service("ListTeams", &ListTeamsResponse::default()));
    let settings = [("DIWAN_CORS_ORIGINS", "https://app.example.com")];
    let address = listen(&world, gateway_to(&world, world.network.clone(), &settings).await).await;
    let bearer = format!("Bearer {}", world.token(&somebody()));
    let message = encoded(&ListTeamsRequest::default());
    let web = ("Content-Type", "application/grpc-web+proto");
    let page = ("Origin", "https://app.example.com");
    for name in INNER {
        for more in [page, ("Connection", name), ("Accept-Language", "es")] {
            let headers = [web, ("AUTHORIZATION", &*bearer), (name, "Zm9yZ2Vk"), more];
            let answer = posted(address, LIST_TEAMS, &headers, &message).await;
            assert!(answer.contains("grpc-status: 16") && answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
            assert!(answer.contains(&name.to_lowercase()), "{name}: {answer}");
        }
        let keys = posted(address, "/.well-known/jwks.json", &[(name, "forged")], b"").await;
        assert!(keys.starts_with("HTTP/1.1 401") && keys.contains("www-authenticate: Bearer"), "{keys}");
        assert!(keys.contains(&format!("The metadata {} is only for services", name.to_lowercase())), "{keys}");
    }
    assert!(seen.0.lock().unwrap().is_empty(), "it reached a service");
    let reserved = [("GRPC-STATUS", "0"), ("Grpc-Previous-Rpc-Attempts", "7"), ("X-Forwarded-For", "192.0.2.1")];
    let headers: Vec<_> = reserved.into_iter().chain([web, page, ("AUTHORIZATION", &*bearer)]).collect();
    let answer = posted(address, LIST_TEAMS, &headers, &message).await;
    assert!(answer.replace(' ', "").contains("grpc-status:0"), "{answer}");
    assert!(!seen.has("grpc-status") && !seen.has("grpc-previous-rpc-attempts"));
    assert_eq!(seen.one("diwan-client-address").as_deref(), Some("127.0.0.1"), "the socket's");
}

#[tokio::test]
async fn over_http2_nothing_of_it_is_taken_away_before_it_is_refused() {
    let (world, seen) = (world([]), Seen::default());
    crate::support::start(&world, "team", seen.service("ListTeams", &ListTeamsResponse::default()));
    let address = listen(&world, gateway_to(&world, world.network.clone(), &[]).await).await;
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    for name in ["diwan-gateway-token", "diwan-client-address", "diwan-service-token", "x-diwan-user"] {
        let mut request = world.request(&somebody(), ListTeamsRequest::default());
        request.metadata_mut().insert(name, "forged".parse().unwrap());
        let refused = TeamServiceClient::new(channel.clone()).list_teams(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "INTERNAL_METADATA"), "{name}");
    }
    assert!(seen.0.lock().unwrap().is_empty(), "it reached a service");
    TeamServiceClient::new(channel).list_teams(world.request(&somebody(), ListTeamsRequest::default())).await.unwrap();
}
