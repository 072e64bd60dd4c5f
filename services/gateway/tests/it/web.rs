//! Browsers: gRPC-Web over HTTP/1.1, and only to pages of the allowed origins.

use std::net::SocketAddr;

use bytes::Bytes;
use diwan_proto::team::v1::{ListTeamsRequest, ListTeamsResponse, Team, team_service_client::TeamServiceClient};
use diwan_testkit::{Person, World};
use http::{Method, Request, Response, StatusCode, request::Builder};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use crate::support::{Scripted, encoded, gateway, listen, world};

const PAGE: &str = "https://app.example.com";
const PATH: &str = "/diwan.team.v1.TeamService/ListTeams";

/// A gateway with one team behind it that serves `PAGE`.
async fn served() -> (World, SocketAddr) {
    let teams = vec![Team { name: "Support".into(), ..Team::default() }];
    let world = world([("team", Scripted::default().says("ListTeams", &ListTeamsResponse { teams, page: None }))]);
    let settings = [("DIWAN_CORS_ORIGINS", "https://other.example.com, https://app.example.com")];
    let address = listen(&world, gateway(&world, &settings).await).await;
    (world, address)
}

async fn send(address: SocketAddr, request: Builder, body: Bytes) -> Result<Response<Bytes>, hyper::Error> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let request = request.header("host", address.to_string()).body(Full::new(body)).unwrap();
    let (head, body) = client.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

fn call(world: &World, origin: &str) -> Builder {
    Request::post(PATH)
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("origin", origin)
        .header("authorization", format!("Bearer {}", world.token(&Person::owner())))
}

fn request() -> Bytes {
    encoded(&ListTeamsRequest::default())
}

/// The frames of a gRPC-Web answer: flag and content (gRPC-Web protocol, "Message framing").
fn frames(mut body: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [flag, a, b, c, d, rest @ ..] = body {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
        let (content, more) = rest.split_at(length);
        frames.push((*flag, content));
        body = more;
    }
    assert!(body.is_empty());
    frames
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_calls_over_http1_and_reads_answer_and_status() {
    let (world, address) = served().await;
    let answer = send(address, call(&world, PAGE), request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], PAGE);
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    let frames = frames(answer.body());
    assert_eq!((frames.len(), frames[0].0, frames[1].0), (2, 0, 0x80));
    assert_eq!(ListTeamsResponse::decode(frames[0].1).unwrap().teams[0].name, "Support");
    let trailers = String::from_utf8(frames[1].1.to_vec()).unwrap();
    assert!(trailers.replace(' ', "").contains("grpc-status:0"), "{trailers}");

    let stranger = Request::post(PATH).header("content-type", "application/grpc-web+proto").header("origin", PAGE);
    let refused = send(address, stranger, request()).await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "16");
    let readable = refused.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(readable.contains("grpc-status-details-bin"), "{readable}");
}

#[tokio::test]
async fn a_preflight_names_what_an_allowed_page_may_send_and_other_pages_get_nothing() {
    let (world, address) = served().await;
    let preflight = |origin| {
        Request::builder()
            .method(Method::OPTIONS)
            .uri(PATH)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-grpc-web")
    };
    let answer = send(address, preflight(PAGE), Bytes::new()).await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["access-control-allow-origin"]),
        (StatusCode::NO_CONTENT, &PAGE.parse().unwrap())
    );
    assert_eq!(answer.headers()["access-control-allow-methods"], "POST");
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
    assert!(["authorization", "content-type", "x-grpc-web", "grpc-timeout"].iter().all(|name| allowed.contains(name)));
    for origin in ["https://evil.example.com", "http://app.example.com", "null"] {
        let pages = [preflight(origin), call(&world, origin)];
        for page in pages {
            let answer = send(address, page, request()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
    }
}

#[tokio::test]
async fn programs_go_on_with_plain_grpc_at_the_same_port() {
    let (world, address) = served().await;
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let request = world.request(&Person::owner(), ListTeamsRequest::default());
    assert_eq!(TeamServiceClient::new(channel).list_teams(request).await.unwrap().into_inner().teams.len(), 1);
}

#[tokio::test]
async fn without_the_setting_no_call_is_answered_over_http1() {
    let world = world([]);
    let address = listen(&world, gateway(&world, &[]).await).await;
    assert_eq!(send(address, call(&world, PAGE), request()).await.unwrap().status(), StatusCode::NOT_FOUND);
    let keys = send(address, Request::get("/.well-known/jwks.json"), Bytes::new()).await.unwrap();
    assert_eq!(keys.status(), StatusCode::OK, "public keys are for everybody");
}
