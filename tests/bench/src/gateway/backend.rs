//! The service that every gateway is measured in front of: a process that gives one answer to every call and counts them. It
//! prints how many it has answered whenever it reads a line, so that asking costs the measured machine next to nothing.
#![expect(clippy::print_stdout, reason = "its parent reads what it prints")]

use std::{
    io::{BufRead as _, Write as _, stdin, stdout},
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, body::Body, extract::State, response::Response};
use bytes::Bytes;
use diwan_e2e::Failure;
use diwan_proto::team::v1::{GetTeamResponse, Team};
use futures::stream;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::server::TcpIncoming};

#[derive(Clone, Default)]
struct Answers {
    given: Arc<AtomicU64>,
    team: Bytes,
    health: Bytes,
}

/// Serves on a free port, which it prints first, until standard input ends.
pub(crate) fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let answers =
        Answers { given: Arc::default(), team: framed(&team()), health: Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]) };
    println!("{}", listener.local_addr()?);
    let given = answers.given.clone();
    std::thread::spawn(move || {
        for _ in stdin().lock().lines() {
            println!("{}", given.load(Ordering::Relaxed));
            let _ = stdout().flush();
        }
        std::process::exit(0)
    });
    let router = Router::new().fallback(answer).with_state(answers);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_routes(Routes::from(router));
    Ok(runtime.block_on(server.serve_with_incoming(incoming))?)
}

async fn answer(State(answers): State<Answers>, request: Request<Body>) -> Response {
    let message = if request.uri().path().starts_with("/grpc.health") {
        answers.health
    } else {
        answers.given.fetch_add(1, Ordering::Relaxed);
        answers.team
    };
    let _ = request.into_body().collect().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok::<_, std::convert::Infallible>(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn team() -> GetTeamResponse {
    let team = Team { id: "0198f000-0000-7000-8000-000000000001".into(), name: "Support".into(), ..Team::default() };
    GetTeamResponse { team: Some(team) }
}

/// A message as gRPC sends it: not compressed, its length, itself.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], length.as_slice(), &encoded].concat().into()
}
