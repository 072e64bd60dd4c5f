//! How long a client may stay on one connection.

use std::time::Duration;

use diwan_proto::team::v1::{ListTeamsRequest, ListTeamsResponse};
use diwan_testkit::{Person, World};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};

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
