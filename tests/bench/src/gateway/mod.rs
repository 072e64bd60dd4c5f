//! What one call costs the gateway, beside what the same call costs Envoy and HAProxy. The measured program has one core to
//! itself; the load and the service behind share the other.

pub(crate) mod backend;
mod load;
mod others;

use std::{net::SocketAddr, time::Duration};

use diwan_e2e::{Failure, door::Door};
use diwan_proto::{
    identity::v1::{GetKeySetRequest, signing_key_service_client::SigningKeyServiceClient},
    team::v1::{GetTeamRequest, team_service_client::TeamServiceClient},
};
use serde_json::json;
use tonic::Code;

use crate::{
    cast::{PASSWORD, Scene},
    report::{self, Report},
};
use load::{Backend, Carried, Load, Packages};
use others::Proxy;

const MEASURED: &str = "0";
const REST: &str = "1";
const READY_LIMIT: Duration = Duration::from_secs(20);

/// Measures the three.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("gateway: GetTeam through one core, 8 connections with 32 calls each");
    let packages = Packages::find()?;
    let mut scene = Scene::start(&[]).await?;
    let owner = scene.owner().await?;
    let mut backend = Backend::start(REST).await?;
    let behind = [("DIWAN_TEAM_ADDRESS", format!("http://{}", backend.address))];
    let gateway = scene.installation.replica("gateway", "measured", &["taskset", "-c", MEASURED], &behind)?;
    let home = tempfile::tempdir()?;
    let body = home.path().join("call");
    std::fs::write(&body, backend::framed(&GetTeamRequest { team_id: "0198f000-0000-7000-8000-000000000001".into() }))?;
    let jwks = jwks(&scene.door).await?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for cached in [false, true] {
        let token = scene.door.sign_in(&owner.user.email, PASSWORD).await?.tokens.access_token;
        let load = Load { packages: &packages, token: &token, body: &body, core: REST };
        ready(gateway, &token).await?;
        ours.push(load.on(&gateway.to_string(), scene.pid("measured")?, &mut backend).await?);
        let envoy = others::envoy(MEASURED, &jwks, &backend.address, home.path(), cached).await?;
        refuses_nobody(&envoy, &token).await?;
        theirs.push(through(&load, envoy, &mut backend).await?);
        say(if cached { "Envoy, JWT filter with its cache" } else { "Envoy, JWT filter" }, theirs.last());
    }
    let token = scene.door.sign_in(&owner.user.email, PASSWORD).await?.tokens.access_token;
    let load = Load { packages: &packages, token: &token, body: &body, core: REST };
    let haproxy = others::haproxy(MEASURED, &packages, &backend.address, home.path()).await?;
    let haproxy = through(&load, haproxy, &mut backend).await?;
    say("HAProxy, which checks nothing", Some(&haproxy));
    say("Diwan's gateway", ours.last());
    scene.end().await?;
    bars(report, &ours, &theirs, haproxy)
}

fn bars(report: &mut Report, ours: &[Carried], theirs: &[Carried], haproxy: Carried) -> Result<(), Failure> {
    let least = |all: &[Carried]| all.iter().map(|carried| carried.cpu).min().ok_or("nothing measured");
    let (own, envoy) = (least(ours)?, least(theirs)?);
    let ratio = own.as_secs_f64() / envoy.as_secs_f64();
    report.bar("processor time of a call, to Envoy's better one: at most 1", format!("{ratio:.2}"), ratio <= 1.0);
    let throughput = ours.iter().map(|carried| carried.throughput).fold(0.0, f64::max);
    let ratio = throughput / haproxy.throughput;
    report.bar("throughput, to HAProxy's: at least 0.5", format!("{ratio:.2}"), ratio >= 0.5);
    Ok(())
}

async fn through(load: &Load<'_>, mut proxy: Proxy, backend: &mut Backend) -> Result<Carried, Failure> {
    let carried = load.on(&proxy.address.to_string(), proxy.pid()?, backend).await?;
    proxy.child.kill().await?;
    Ok(carried)
}

fn say(who: &str, carried: Option<&Carried>) {
    let Some(carried) = carried else { return };
    let cpu = carried.cpu.as_secs_f64() * 1e6;
    let figures = format!("{cpu:.1} µs/call {:.0} calls/s {:.0} % busy", carried.throughput, carried.busy * 100.0);
    report::figure(who, figures);
}

/// Waits until the further gateway lets the caller through.
async fn ready(gateway: SocketAddr, token: &str) -> Result<(), Failure> {
    let call = async || {
        let door = Door::open(gateway).await?.with_token(token)?;
        Ok::<_, Failure>(TeamServiceClient::new(door.way()).get_team(GetTeamRequest::default()).await?)
    };
    let ready = async {
        while call().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    Ok(tokio::time::timeout(READY_LIMIT, ready).await?)
}

/// A filter that lets everybody through would make the comparison worthless.
async fn refuses_nobody(envoy: &Proxy, token: &str) -> Result<(), Failure> {
    let door = Door::open(envoy.address).await?;
    let nobody = TeamServiceClient::new(door.way()).get_team(GetTeamRequest::default()).await;
    let somebody = TeamServiceClient::new(door.with_token(token)?.way()).get_team(GetTeamRequest::default()).await;
    match (nobody, somebody) {
        (Err(status), Ok(_)) if status.code() == Code::Unauthenticated => Ok(()),
        (nobody, somebody) => Err(format!("Envoy checks no tokens: {nobody:?}, {somebody:?}").into()),
    }
}

/// The keys that Envoy's filter checks by, from where anybody gets them.
async fn jwks(door: &Door) -> Result<String, Failure> {
    let answer = SigningKeyServiceClient::new(door.way()).get_key_set(GetKeySetRequest {}).await?.into_inner();
    let keys = answer.key_set.unwrap_or_default().keys.into_iter();
    let keys: Vec<_> = keys
        .map(
            |key| json!({"kty": key.kty, "crv": key.crv, "kid": key.kid, "alg": key.alg, "use": key.r#use, "x": key.x}),
        )
        .collect();
    Ok(json!({ "keys": keys }).to_string())
}
