//! How long a message may be.

use diwan_proto::team::v1::{CreateTeamRequest, CreateTeamResponse, team_service_client::TeamServiceClient};
use diwan_testkit::{Person, metadata, reason};
use http_body_util::BodyExt as _;
use tonic::Code;

use crate::support::{Count, Scripted, encoded, gateway, good, world};

#[tokio::test]
async fn a_message_over_the_limit_never_reaches_a_service_and_one_below_it_arrives_whole() {
    let bytes = Count::default();
    let seen = bytes.clone();
    let created = encoded(&CreateTeamResponse::default());
    let team = Scripted::default().on("CreateTeam", move |request| {
        let (bytes, created) = (bytes.clone(), created.clone());
        async move {
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            for _ in 0..length / 100_000 {
                bytes.one();
            }
            good(created)
        }
    });
    let world = world([("team", team)]);
    let gateway = gateway(&world, &[("DIWAN_GATEWAY_MESSAGE_BYTES", "1000000")]).await;
    let create = async |length: usize| {
        let message = CreateTeamRequest { name: "n".repeat(length), ..CreateTeamRequest::default() };
        TeamServiceClient::new(gateway.clone()).create_team(world.request(&Person::owner(), message)).await
    };
    let refusal = create(1_000_001).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(metadata(&refusal, "limit").as_deref(), Some("1000000"));
    assert_eq!(seen.get(), 0);
    create(900_000).await.unwrap();
    assert_eq!(seen.get(), 9);
}
