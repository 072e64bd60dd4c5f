//! Keys and operators' tokens that are withdrawn while six processes run: nobody is restarted.

use std::{net::SocketAddr, time::Duration};

use diwan_access::{Signer, keys, token::OperatorClaims};
use diwan_e2e::{
    door::{Door, Way, request_id},
    installation::Topology,
};
use diwan_proto::{
    conversation::v1::{WatchInboxRequest, WatchInboxResponse, inbox_service_client::InboxServiceClient},
    identity::v1::{
        GetAccountRequest, ListSigningKeysRequest, RefreshSessionRequest, RevokeOperatorTokenRequest,
        WithdrawSigningKeyRequest, account_service_client::AccountServiceClient,
        operator_service_client::OperatorServiceClient, session_service_client::SessionServiceClient,
        signing_key_service_client::SigningKeyServiceClient,
    },
    team::v1::{ListMyTeamsRequest, membership_service_client::MembershipServiceClient},
};
use diwan_runtime::SystemClock;
use diwan_testkit::eventually;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status, Streaming};

use crate::support::{Fresh, sign_up, start};

/// Within it nothing withdrawn is accepted any more.
const BOUND: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(20);

/// The ids of the keys that a process serves over HTTP/1.1.
async fn served(address: SocketAddr) -> Vec<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n", keys::JWKS_PATH);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("cache-control: public, max-age=300"), "{head}");
    let set: Value = serde_json::from_str(body).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The id of the key that signed a token: its header is the first part, in base64url.
fn key_of(token: &str, known: &[String]) -> String {
    let header = |kid: &String| format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":"{kid}"}}"#);
    let part = token.split('.').next().unwrap();
    known.iter().find(|kid| base64url(header(kid).as_bytes()) == part).cloned().unwrap_or_default()
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |word: u32, at: usize| char::from(DIGITS[(word >> (18 - 6 * at)) as usize & 63]);
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let word = chunk.iter().enumerate().fold(0, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
            (0..=chunk.len()).map(move |at| digit(word, at))
        })
        .collect()
}

/// An operator of the installation, and what his token says.
fn operator(fresh: &Fresh, scopes: &[&str]) -> (String, OperatorClaims) {
    let signer = Signer::load(&fresh.installation.keys(), keys::OPERATOR, SystemClock::shared()).unwrap();
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let claims = signer.operator_claims("ada", scopes, Duration::from_mins(5));
    (signer.sign(&claims).unwrap(), claims)
}

/// What the gateway and the service team say to a token.
async fn say(gateway: &Door, team: &Door, token: &str) -> [Result<(), Code>; 2] {
    let (gateway, team) = (gateway.with_token(token).unwrap(), team.with_token(token).unwrap());
    let account = AccountServiceClient::new(gateway.way()).get_account(GetAccountRequest {}).await.map(drop);
    let teams = MembershipServiceClient::new(team.way()).list_my_teams(ListMyTeamsRequest::default()).await.map(drop);
    [account, teams].map(|answer| answer.map_err(|status| status.code()))
}

/// An open inbox.
async fn watch(way: Way) -> Streaming<WatchInboxResponse> {
    let mut stream = InboxServiceClient::new(way).watch_inbox(WatchInboxRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_withdrawn_key_are_refused_by_every_process_and_a_refreshed_session_goes_on() {
    let fresh = start(Topology::Separate, &[]).await;
    let address = |service| fresh.installation.address(service).unwrap();
    let gateway = Door::open(fresh.installation.gateway()).await.unwrap();
    let team = Door::open(address("team")).await.unwrap();
    let owner = sign_up(&gateway, "Example").await;
    let (old, known) = (&owner.tokens.access_token, served(fresh.installation.gateway()).await);
    let signed_by = key_of(old, &known);
    assert_eq!(known.len(), 2, "the one that signs and the next one");
    assert!(known.contains(&signed_by) && served(address("identity")).await.contains(&signed_by));
    assert_eq!(say(&gateway, &team, old).await, [Ok(()), Ok(())]);
    let conversation = Door::open(address("conversation")).await.unwrap().with_token(old).unwrap();
    let mut streams = [watch(owner.way()).await, watch(conversation.way()).await];

    let (token, _) = operator(&fresh, &["keys.write"]);
    let request = WithdrawSigningKeyRequest {
        request_id: request_id(),
        key_id: signed_by.clone(),
        reason: "a test takes it for leaked".into(),
    };
    SigningKeyServiceClient::new(gateway.with_token(&token).unwrap().way())
        .withdraw_signing_key(request)
        .await
        .unwrap();
    eventually("nobody accepts its tokens", BOUND, async || say(&gateway, &team, old).await.iter().all(Result::is_err))
        .await;
    eventually("everybody says that they are bad", LIMIT, async || {
        say(&gateway, &team, old).await == [Err(Code::Unauthenticated); 2]
    })
    .await;
    for stream in &mut streams {
        let ended = async {
            while stream.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        let ended = tokio::time::timeout(LIMIT, ended).await.expect("what was opened with one ends, too");
        assert_eq!(ended.unwrap_err().code(), Code::Unauthenticated);
    }
    let request = RefreshSessionRequest { refresh_token: owner.tokens.refresh_token.clone() };
    let answer = SessionServiceClient::new(gateway.way()).refresh_session(request).await.unwrap();
    let new = answer.into_inner().tokens.unwrap().access_token;
    eventually("the next key's tokens are good", LIMIT, async || say(&gateway, &team, &new).await == [Ok(()), Ok(())])
        .await;
    for door in [fresh.installation.gateway(), address("identity")] {
        eventually("the key is no longer served", LIMIT, async || !served(door).await.contains(&signed_by)).await;
    }
    fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_operators_token_is_refused_at_the_gateway_and_at_the_service() {
    let fresh = start(Topology::Separate, &[]).await;
    let gateway = Door::open(fresh.installation.gateway()).await.unwrap();
    let identity = Door::open(fresh.installation.address("identity").unwrap()).await.unwrap();
    let (own, _) = operator(&fresh, &["operators.write"]);
    let (lost, claims) = operator(&fresh, &["keys.read"]);
    let doors = [gateway.with_token(&lost).unwrap(), identity.with_token(&lost).unwrap()];
    let lists = async |door: &Door| {
        let answer = SigningKeyServiceClient::new(door.way()).list_signing_keys(ListSigningKeysRequest {}).await;
        answer.map(|answer| answer.into_inner().keys.len()).map_err(|status| status.code())
    };
    for door in &doors {
        assert_eq!(lists(door).await, Ok(2));
    }
    let request = RevokeOperatorTokenRequest {
        request_id: request_id(),
        token_id: claims.jti.to_string(),
        reason: "a test lost it".into(),
    };
    let mut operators = OperatorServiceClient::new(gateway.with_token(&own).unwrap().way());
    operators.revoke_operator_token(request).await.unwrap();
    for door in &doors {
        eventually("it is not accepted", BOUND, async || lists(door).await.is_err()).await;
        eventually("it is bad", LIMIT, async || lists(door).await == Err(Code::Unauthenticated)).await;
    }
    fresh.installation.stop().await.unwrap();
}
