//! The keys of access tokens: rotated by schedule and by hand, withdrawn, and never in the clear.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_access::Admission;
use diwan_launch::Context;
use diwan_proto::identity::v1::{
    GetKeySetRequest, KeySet, ListSigningKeysRequest, RotateSigningKeyRequest, SigningKey, SigningKeyState,
    WithdrawSigningKeyRequest, signing_key_service_client::SigningKeyServiceClient,
};
use diwan_runtime::{Clock, Env, MockClock, ids, worker::chain};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use diwan_vault::Vault;
use futures::future::join_all;
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::house::{House, LIMIT, PASSWORD, refusal, refused};

/// A method of another service, for any user.
const ELSEWHERE: &str = "/diwan.team.v1.MembershipService/ListMyTeams";
/// What is awaited comes within it, however busy the machine is.
const LONG: Duration = Duration::from_secs(30);
/// One whose answer is a stream.
const WATCH: &str = "/diwan.conversation.v1.InboxService/WatchInbox";

impl House {
    fn keys(&self) -> SigningKeyServiceClient<Transport> {
        SigningKeyServiceClient::new(self.world.to("identity"))
    }

    async fn key_set(&self) -> KeySet {
        self.keys().get_key_set(GetKeySetRequest {}).await.unwrap().into_inner().key_set.unwrap()
    }

    async fn all_keys(&self) -> Vec<SigningKey> {
        let request = self.world.operator("keys.read", ListSigningKeysRequest {});
        self.keys().list_signing_keys(request).await.unwrap().into_inner().keys
    }

    async fn key_in(&self, state: SigningKeyState) -> String {
        let keys = self.all_keys().await;
        keys.into_iter().find(|key| key.state() == state).map(|key| key.key_id).unwrap_or_default()
    }

    async fn rotate_key(&self, request_id: &str) -> Vec<SigningKey> {
        let request = RotateSigningKeyRequest { request_id: request_id.to_owned() };
        let answer = self.keys().rotate_signing_key(self.world.operator("keys.write", request)).await;
        answer.unwrap().into_inner().keys
    }

    async fn withdraw_key(&self, key_id: &str) -> Result<Vec<SigningKey>, Status> {
        let request = WithdrawSigningKeyRequest {
            request_id: ids::new_id().to_string(),
            key_id: key_id.to_owned(),
            reason: "found on a laptop".into(),
        };
        let answer = self.keys().withdraw_signing_key(self.world.operator("keys.write", request)).await?;
        Ok(answer.into_inner().keys)
    }

    /// As if every key had been made a day before.
    async fn age_keys(&self) {
        sqlx::query(
            "update signing_keys set published_at = published_at - interval '1 day',
             signs_from = case when signs_from > published_at then signs_from else signs_from - interval '1 day' end",
        )
        .execute(&self.database.pool)
        .await
        .unwrap();
    }

    /// The verifier of another process, which follows identity as any does.
    async fn verifier(&self, service: &'static str) -> Admission {
        let keys = self.world.context(service, Env::default()).keys;
        let env = Env::default().with("DIWAN_KEYS", keys.to_str().unwrap());
        let (clock, drain) = (self.world.clock.clone(), self.world.drain.clone());
        let context = Context::new(service, env, clock, drain, self.world.network.clone()).unwrap();
        eventually("it has heard of identity", LIMIT, async || context.admission.key_set().is_some()).await;
        context.admission
    }
}

fn bearing(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

/// What a verifier says to a token.
fn say(verifier: &Admission, token: &str) -> Result<(), Code> {
    verifier.admit(ELSEWHERE, &bearing(token), "team").map(drop).map_err(|fault| fault.code())
}

fn key_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

fn ids_of(set: &KeySet) -> BTreeSet<String> {
    set.keys.iter().map(|key| key.kid.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_refuses_no_call_with_old_and_new_tokens() {
    let house = Arc::new(House::new().await);
    house.owner("mona@example.com").await;
    house.age_keys().await;
    let verifiers = [house.verifier("gateway").await, house.verifier("team").await];
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..3).map(|_| {
        let (house, verifiers, stop) = (house.clone(), verifiers.clone(), stop.clone());
        tokio::spawn(async move {
            let mut tokens = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                tokens.push(house.member("mona@example.com").await.tokens.access_token);
                for token in &tokens {
                    let said = verifiers.each_ref().map(|verifier| say(verifier, token));
                    assert_eq!(said, [Ok(()), Ok(())], "a token of {}", key_of(token));
                }
            }
            tokens.iter().map(|token| key_of(token)).collect::<BTreeSet<_>>()
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut signed = BTreeSet::new();
    for round in 0..3 {
        let signing = house.key_in(SigningKeyState::Signing).await;
        signed.insert(signing.clone());
        eventually("the present key has signed", LIMIT, async || {
            key_of(&house.member("mona@example.com").await.tokens.access_token) == signing
        })
        .await;
        house.rotate_key(&format!("round {round}")).await;
        assert_ne!(house.key_in(SigningKeyState::Signing).await, signing);
        // The next one was published a moment ago and would have to wait.
        house.age_keys().await;
    }
    stop.store(true, Ordering::Relaxed);
    let by: BTreeSet<String> = join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();
    assert!(by.len() >= 2, "tokens of several keys were tried: {by:?}, of {signed:?}");
}

#[tokio::test]
async fn a_rotation_waits_until_the_next_key_is_known_everywhere_and_a_retry_changes_nothing() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    let (first, next) = (house.key_in(SigningKeyState::Signing).await, house.key_in(SigningKeyState::Next).await);
    let asked = house.rotate_key("rotate").await;
    assert_eq!(house.key_in(SigningKeyState::Signing).await, first, "the next one was published only now");
    let signs_from = asked.iter().find(|key| key.key_id == next).unwrap().signs_from.unwrap();
    assert_eq!(signs_from.seconds, clock.now().as_second() + 600);
    clock.advance(Duration::from_mins(10));
    assert_eq!(house.key_in(SigningKeyState::Signing).await, next);
    assert_eq!(house.key_in(SigningKeyState::Retired).await, first);
    eventually("a new next key is made", LIMIT, async || !house.key_in(SigningKeyState::Next).await.is_empty()).await;
    assert_eq!(house.rotate_key("rotate").await, asked, "the first answer");
}

#[tokio::test]
async fn a_key_signs_for_its_period_and_leaves_the_set_when_its_tokens_have_expired() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house =
        House::at_with(Arc::new(clock.clone()), Env::default().with("DIWAN_IDENTITY_SIGNING_KEY_DAYS", "7")).await;
    let (first, next) = (house.key_in(SigningKeyState::Signing).await, house.key_in(SigningKeyState::Next).await);
    assert_eq!(ids_of(&house.key_set().await), BTreeSet::from([first.clone(), next.clone()]));
    clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(house.key_in(SigningKeyState::Signing).await, next);
    eventually("three are in the set", LIMIT, async || house.key_set().await.keys.len() == 3).await;
    assert!(ids_of(&house.key_set().await).contains(&first), "its tokens are still good");
    clock.advance(Duration::from_mins(10));
    eventually("the first has left the set", LIMIT, async || !ids_of(&house.key_set().await).contains(&first)).await;
    assert_eq!(house.key_in(SigningKeyState::Expired).await, first);
    let private: i64 = eventually("its private half is destroyed", LIMIT, async || {
        let query = "select count(*) from signing_keys where sealed is not null";
        let count: i64 = sqlx::query_scalar(query).fetch_one(&house.database.pool).await.unwrap();
        (count == 2).then_some(count)
    })
    .await;
    assert_eq!(private, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_replicas_one_makes_each_key() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    sqlx::query("delete from signing_keys").execute(&house.database.pool).await.unwrap();
    let started = join_all((0..6).map(|_| house.beside(&[]))).await;
    assert!(started.iter().all(Result::is_ok));
    assert_eq!(house.count("signing_keys").await, 2, "one that signs and the next one");
    let days = Duration::from_hours(30 * 24);
    for round in 1..=3 {
        clock.advance(days);
        eventually("the key after the next is made", LIMIT, async || {
            !house.key_in(SigningKeyState::Next).await.is_empty()
        })
        .await;
        // Every replica looks once more.
        clock.advance(Duration::from_mins(2));
        house.rotate_key(&format!("round {round}")).await;
        assert_eq!(house.count("signing_keys").await, 2 + round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_key_is_refused_everywhere_and_the_next_one_signs_at_once() {
    let house = House::new().await;
    let old = house.owner("mona@example.com").await.tokens.access_token;
    let verifiers = [house.verifier("gateway").await, house.verifier("team").await];
    let next = house.key_in(SigningKeyState::Next).await;
    assert_eq!(verifiers.each_ref().map(|verifier| say(verifier, &old)), [Ok(()), Ok(())]);
    let keys = house.withdraw_key(&key_of(&old)).await.unwrap();
    let withdrawn = keys.iter().find(|key| key.key_id == key_of(&old)).unwrap();
    assert_eq!((withdrawn.state(), &*withdrawn.reason), (SigningKeyState::Withdrawn, "found on a laptop"));
    for verifier in &verifiers {
        // The bound, with room for a loaded machine.
        eventually("it is refused", Duration::from_secs(5), async || say(verifier, &old) == Err(Code::Unauthenticated))
            .await;
    }
    let new = eventually("the next key signs", LIMIT, async || {
        let token = house.sign_in("mona@example.com", PASSWORD).await.unwrap().tokens.unwrap().access_token;
        (key_of(&token) == next).then_some(token)
    })
    .await;
    assert_eq!(verifiers.each_ref().map(|verifier| say(verifier, &new)), [Ok(()), Ok(())], "it was known before");
    assert_eq!(house.withdraw_key(&key_of(&old)).await.unwrap().len(), keys.len(), "once more changes nothing");
    assert_eq!(refusal(house.withdraw_key("0123456789abcdef").await), refused(Code::NotFound, "SIGNING_KEY_NOT_FOUND"));
    let sealed: bool = sqlx::query_scalar("select sealed is not null from signing_keys where key_id = $1")
        .bind(key_of(&old))
        .fetch_one(&house.database.pool)
        .await
        .unwrap();
    assert!(!sealed, "its private half is destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_were_opened_with_a_withdrawn_key_end_and_those_of_others_go_on() {
    let house = House::new().await;
    house.owner("mona@example.com").await;
    house.age_keys().await;
    let verifier = house.verifier("gateway").await;
    let opened = async || {
        let token = house.sign_in("mona@example.com", PASSWORD).await.unwrap().tokens.unwrap().access_token;
        (key_of(&token), verifier.cut(WATCH, &bearing(&token)).unwrap())
    };
    let (old, mut first) = opened().await;
    house.rotate_key("rotate").await;
    let (new, second) = eventually("the next key signs", LIMIT, async || {
        let (key, stream) = opened().await;
        (key != old).then_some((key, stream))
    })
    .await;
    house.withdraw_key(&new).await.unwrap();
    let ended = timeout(LONG, second).await.expect("it ends");
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(futures::poll!(&mut first).is_pending(), "its key is still good, though it signs no more");
    house.withdraw_key(&old).await.unwrap();
    assert_eq!(timeout(LONG, first).await.expect("it ends").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_database_holds_no_plain_key_and_a_sealed_one_opens_in_its_own_row_only() {
    let house = House::new().await;
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("select key_id, sealed from signing_keys").fetch_all(&house.database.pool).await.unwrap();
    let vault = Vault::load(&house.world.context("identity", Env::default()).keys.join("identity-secrets.json"), false);
    let vault = vault.unwrap();
    let label = |id: &str| [b"signing_keys.sealed ", id.as_bytes()].concat();
    for (id, sealed) in &rows {
        let private = vault.open(&label(id), sealed).unwrap();
        // RFC 8410: the last 32 bytes of the key pair's first half are the secret; its OID is 1.3.101.112.
        let oid = [0x06, 0x03, 0x2b, 0x65, 0x70];
        assert!(private.windows(5).any(|bytes| bytes == oid));
        assert!(!sealed.windows(5).any(|bytes| bytes == oid));
        assert!(!sealed.windows(32).any(|bytes| private.windows(32).any(|secret| secret == bytes)));
        assert!(
            rows.iter().filter(|(other, _)| other != id).all(|(other, _)| vault.open(&label(other), sealed).is_err())
        );
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn with_another_vault_key_identity_does_not_start_and_says_why() {
    let house = House::new().await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.json");
    Vault::load(&other, true).unwrap();
    for path in [other, folder.path().join("missing.json")] {
        let started = house.beside(&[("DIWAN_IDENTITY_SECRET_KEYS_FILE", path.to_str().unwrap())]).await;
        let error = chain(started.err().expect("it must not start").as_ref());
        let says_which = error.contains("DIWAN_IDENTITY_SECRET_KEYS_FILE") || error.contains("missing.json");
        assert!(says_which, "{error}");
    }
}

#[tokio::test]
async fn the_set_is_public_and_the_rest_is_for_operators_with_the_scope() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let set = house.key_set().await;
    assert!(
        set.keys.iter().all(|key| key.kty == "OKP" && key.crv == "Ed25519" && key.alg == "EdDSA" && key.x.len() == 43)
    );
    let asked = house.keys().list_signing_keys(owner.says(ListSigningKeysRequest {})).await;
    assert_eq!(asked.unwrap_err().code(), Code::PermissionDenied);
    let request = RotateSigningKeyRequest { request_id: "rotate".into() };
    let asked = house.keys().rotate_signing_key(house.world.operator("keys.read", request)).await;
    assert_eq!(asked.unwrap_err().code(), Code::PermissionDenied);
}
