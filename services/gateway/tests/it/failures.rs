//! Services that fail now and then, and services that are gone.

use std::time::Duration;

use diwan_proto::team::v1::{CreateTeamRequest, ListTeamsResponse, Team, team_service_client::TeamServiceClient};
use diwan_runtime::Env;
use diwan_testkit::{Person, eventually, metadata};
use diwan_transport::{Front, Network, SERVICES, bind, serve};
use tonic::{Code, Status};

use crate::support::{
    Count, LIMIT, Scripted, encoded, gateway, gateway_to, good, list_teams, refused_for_now, somebody, world,
};

#[tokio::test]
async fn a_read_that_finds_its_service_restarting_is_tried_again_and_a_write_never_is() {
    let (reads, writes) = (Count::default(), Count::default());
    let (seen_reads, seen_writes) = (reads.clone(), writes.clone());
    let teams = ListTeamsResponse { teams: vec![Team::default()], page: None };
    let list = encoded(&teams);
    let team = Scripted::default()
        .on("ListTeams", move |_| {
            let (count, list) = (reads.one(), list.clone());
            async move { if count < 3 { Status::unavailable("restarting").into_http() } else { good(list) } }
        })
        .on("CreateTeam", move |_| {
            writes.one();
            async { Status::unavailable("restarting").into_http() }
        });
    let world = world([("team", team)]);
    let gateway = gateway(&world, &[]).await;
    assert_eq!(list_teams(&world, &gateway, &somebody()).await.unwrap(), teams);
    assert_eq!(seen_reads.get(), 3);
    let request = world.request(&Person::owner(), CreateTeamRequest::default());
    let refusal = TeamServiceClient::new(gateway).create_team(request).await.unwrap_err();
    assert_eq!((refusal.code(), seen_writes.get()), (Code::Unavailable, 1));
}

#[tokio::test]
async fn a_service_in_trouble_gets_a_tenth_more_and_not_three_times_as_much() {
    let count = Count::default();
    let seen = count.clone();
    let team = Scripted::default().on("ListTeams", move |_| {
        count.one();
        async { Status::unavailable("in trouble").into_http() }
    });
    let world = world([("team", team)]);
    let gateway = gateway(&world, &[]).await;
    for _ in 0..300 {
        assert_eq!(list_teams(&world, &gateway, &somebody()).await.unwrap_err().code(), Code::Unavailable);
    }
    // 300, a tenth of them, and the twenty that a quiet time allows.
    assert!((340..=350).contains(&seen.get()), "{}", seen.get());
}

#[tokio::test]
async fn a_dead_service_is_told_at_once_and_is_back_when_it_answers() {
    let world = world([]);
    let port = bind(([127, 0, 0, 1], 0).into()).await.unwrap().local_addr().unwrap();
    let env = SERVICES.into_iter().fold(Env::default(), |env, service| {
        env.with(format!("DIWAN_{}_ADDRESS", service.to_uppercase()), format!("http://{port}"))
    });
    let gateway = gateway_to(&world, Network::remote(&env).unwrap(), &[]).await;
    let person = somebody();
    let refusal = eventually("the circuit opens", LIMIT, async || {
        let refusal = list_teams(&world, &gateway, &person).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable);
        (refused_for_now(&refusal) == "SERVICE_DOWN").then_some(refusal)
    });
    assert_eq!(metadata(&refusal.await, "service").as_deref(), Some("team"));

    let team = Scripted::default().says("ListTeams", &ListTeamsResponse::default());
    let front = Front::new("team", world.admission.clone(), team);
    tokio::spawn(serve(bind(port).await.unwrap(), front, world.drain.clone(), Duration::ZERO));
    eventually("the service is back", LIMIT, async || list_teams(&world, &gateway, &person).await.is_ok()).await;
    for _ in 0..50 {
        list_teams(&world, &gateway, &person).await.unwrap();
    }
}
