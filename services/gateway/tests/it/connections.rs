//! How long a client may stay on one connection.

use std::time::Duration;

use diwan_proto::team::v1::{ListTeamsRequest, ListTeamsResponse};
use diwan_testkit::{Person, World};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{LIMIT, Scripted, encoded, gateway, good, listen, world};

fn request(world: &World) -> Request<Full<bytes::Bytes>> {
    Request::post("http://gateway/diwan.team.v1.TeamService/ListTeams")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", world.token(&Person::owner())))
        .body(Full::new(encoded(&ListTeamsRequest::default())))
        .unwrap()
}

#[tokio::test]
async fn an_old_connection_takes_no_new_call_and_ends_with_the_one_under_way() {
    let list = encoded(&ListTeamsResponse::default());
    let slow = Scripted::default().on("ListTeams", move |_| {
        let list = list.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            good(list)
        }
    });
    let world = world([("team", slow)]);
    let address = listen(&world, gateway(&world, &[("DIWAN_GATEWAY_CONNECTION_AGE_MS", "200")]).await).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = client.send_request(request(&world)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let trailers = answer.into_body().collect().await.unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    timeout(LIMIT, connection).await.expect("the connection ends").unwrap().unwrap();
    assert!(client.send_request(request(&world)).await.is_err());
}

/// The frames of HTTP/2 that count here (RFC 9113 sections 4.1, 6.5 and 6.7): empty SETTINGS, and how a PING begins.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: [u8; 9] = [0, 0, 8, 6, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_client_that_answers_no_ping_is_let_go_and_one_that_does_stays() {
    let list = encoded(&ListTeamsResponse::default());
    let world = world([("team", Scripted::default().on("ListTeams", move |_| std::future::ready(good(list.clone()))))]);
    let address = listen(&world, gateway(&world, &[]).await).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);

    let mut mute = TcpStream::connect(address).await.unwrap();
    mute.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    mute.write_all(&SETTINGS).await.unwrap();
    let mut heard = Vec::new();
    // It takes half a minute: the gateway's own times are what is tried here.
    timeout(4 * LIMIT, mute.read_to_end(&mut heard)).await.expect("the mute client is let go").unwrap();
    assert!(heard.windows(PING.len()).any(|window| window == PING), "it was asked: {heard:?}");

    assert!(!connection.is_finished());
    assert_eq!(client.send_request(request(&world)).await.unwrap().status(), StatusCode::OK);
}
