//! Sign-in, refresh and sign-out.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use diwan_proto::{
    feed::v1::{WatchEventsRequest, feed_service_client::FeedServiceClient},
    identity::v1::{
        GetUserRequest, RefreshSessionRequest, SessionEnded, SignOutRequest, Tokens, WatchRevocationsRequest,
    },
};
use diwan_runtime::ids;
use futures::future::join_all;
use jiff::Timestamp;
use prost::{Message as _, Name as _};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::house::{House, LIMIT, PASSWORD, bearing, refusal, refused};

impl House {
    async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, Status> {
        let request = RefreshSessionRequest { refresh_token: tokens.refresh_token.clone() };
        Ok(self.sessions().refresh_session(request).await?.into_inner().tokens.unwrap())
    }
}

fn refused_refresh() -> (Code, String) {
    refused(Code::Unauthenticated, "REFRESH_REFUSED")
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_refused_alike() {
    let house = House::new().await;
    house.owner("mona@example.com").await;
    let wrong = house.sign_in("mona@example.com", "not her password").await.unwrap_err();
    let unknown = house.sign_in("nobody@example.com", PASSWORD).await.unwrap_err();
    assert_eq!(refusal::<()>(Err(wrong.clone())), refused(Code::Unauthenticated, "SIGN_IN_REFUSED"));
    assert_eq!(
        (wrong.code(), wrong.message(), wrong.details()),
        (unknown.code(), unknown.message(), unknown.details())
    );
}

#[tokio::test]
async fn a_refreshed_session_goes_on_and_a_lost_answer_can_be_asked_for_again() {
    let house = House::new().await;
    let first = house.owner("mona@example.com").await.tokens;
    let lost = house.refresh(&first).await.unwrap();
    let second = house.refresh(&first).await.unwrap();
    assert_ne!(lost.refresh_token, second.refresh_token);
    let third = house.refresh(&second).await.unwrap();
    let me = house.users().get_user(bearing(&third.access_token, GetUserRequest::default())).await.unwrap();
    assert_eq!(me.into_inner().user.unwrap().email, "mona@example.com");
    assert!(house.refresh(&third).await.is_ok());
}

#[tokio::test]
async fn a_used_refresh_token_ends_its_session_and_no_other() {
    let house = House::new().await;
    let first = house.owner("mona@example.com").await.tokens;
    let elsewhere = house.member("mona@example.com").await.tokens;
    let second = house.refresh(&first).await.unwrap();
    let third = house.refresh(&second).await.unwrap();
    assert_eq!(refusal(house.refresh(&first).await), refused_refresh(), "its child has been used");
    assert_eq!(refusal(house.refresh(&third).await), refused_refresh(), "the whole session has ended");
    assert!(house.refresh(&elsewhere).await.is_ok());
    assert_eq!(house.count("revocations").await, 1);
}

#[tokio::test]
async fn of_many_exchanges_of_one_refresh_token_at_once_one_answer_stays_good() {
    let house = House::new().await;
    let first = house.owner("mona@example.com").await.tokens;
    let answers = join_all((0..16).map(|_| {
        let (mut sessions, request) =
            (house.sessions(), RefreshSessionRequest { refresh_token: first.refresh_token.clone() });
        tokio::spawn(async move { sessions.refresh_session(request).await.unwrap().into_inner().tokens.unwrap() })
    }))
    .await;
    let mut good = 0;
    for tokens in answers.into_iter().map(Result::unwrap) {
        // Anything but the newest one ends the session, so each is looked at in the database only.
        let current: bool = sqlx::query_scalar("select count(*) = 1 from sessions where current_hash = $1")
            .bind(single_hash(&tokens.refresh_token))
            .fetch_one(&house.database.pool)
            .await
            .unwrap();
        good += u8::from(current);
    }
    assert_eq!(good, 1);
}

/// Account, session, family and single half, 16 bytes each, then the checksum.
fn parts(token: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix("diwan_").unwrap()).unwrap()
}

/// The single half's SHA-256 is stored.
fn single_hash(token: &str) -> Vec<u8> {
    Sha256::digest(&parts(token)[48..64]).to_vec()
}

/// As whoever knows the format writes a token.
fn written(mut parts: Vec<u8>) -> String {
    parts.truncate(64);
    let sum = Sha256::new().chain_update("diwan_").chain_update(&parts).finalize();
    parts.extend(&sum[..4]);
    format!("diwan_{}", BASE64_URL_SAFE_NO_PAD.encode(parts))
}

#[tokio::test]
async fn who_knows_a_session_id_only_can_neither_use_nor_end_it() {
    let house = House::new().await;
    let tokens = house.owner("mona@example.com").await.tokens;
    let forged = {
        let mut bytes = parts(&tokens.refresh_token);
        bytes[32..].fill(7);
        written(bytes)
    };
    let forged = Tokens { refresh_token: forged, ..Tokens::default() };
    assert_eq!(refusal(house.refresh(&forged).await), refused_refresh());
    let nonsense = Tokens { refresh_token: ids::new_id().to_string(), ..Tokens::default() };
    assert_eq!(refusal(house.refresh(&nonsense).await), refused_refresh());
    assert!(house.refresh(&tokens).await.is_ok());
}

#[tokio::test]
async fn a_signed_out_session_cannot_be_refreshed_and_its_tokens_are_revoked() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let elsewhere = house.member("mona@example.com").await;
    house.sessions().sign_out(owner.says(SignOutRequest {})).await.unwrap();
    assert_eq!(refusal(house.refresh(&owner.tokens).await), refused_refresh());
    let request = WatchRevocationsRequest {};
    let mut stream = house.revocations().watch_revocations(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.is_empty() {
        told = timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap().revocations;
    }
    house.world.revocations.learn(&told, Timestamp::MAX);
    let me = house.users().get_user(owner.says(GetUserRequest::default())).await;
    assert_eq!(refusal(me), refused(Code::Unauthenticated, "UNAUTHENTICATED"));
    house.users().get_user(elsewhere.says(GetUserRequest::default())).await.unwrap();
    // Whoever follows the feed hears of it too: the user is no longer there by this session.
    let mut feed = FeedServiceClient::new(house.world.to_as("identity", "conversation"));
    let mut events = feed.watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    let ended = loop {
        let batch = timeout(LIMIT, events.message()).await.unwrap().unwrap().unwrap().events;
        let mut payloads = batch.into_iter().filter_map(|event| event.payload);
        if let Some(ended) = payloads.find(|payload| payload.type_url.ends_with(&SessionEnded::full_name())) {
            break SessionEnded::decode(&*ended.value).unwrap();
        }
    };
    assert_eq!((ended.session_id, ended.user_id), (told[0].subject_id.clone(), owner.user.id));
}
