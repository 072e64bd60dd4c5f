//! The public keys of access tokens, as a client of plain HTTP gets them.

use std::net::SocketAddr;

use bytes::Bytes;
use diwan_testkit::World;
use diwan_transport::Front;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::support::{Fake, listen, world};

async fn served(world: &World) -> SocketAddr {
    let fake = Fake::new(async |_| Ok("a word".to_owned()));
    let front = Front::new("billing", world.admission.clone(), fake).publishing_keys();
    listen(front, &world.drain).await
}

async fn ask(address: SocketAddr, http2: bool, method: &str, path: &str) -> (Response<()>, Bytes) {
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let request = Request::builder().method(method).uri(format!("http://{address}{path}")).body(Empty::new()).unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    (Response::from_parts(head, ()), body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn the_keys_are_served_over_http1_and_http2_and_may_be_kept_for_five_minutes() {
    let world = world();
    let address = served(&world).await;
    for http2 in [false, true] {
        let (answer, body) = ask(address, http2, "GET", "/.well-known/jwks.json").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/jwk-set+json");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, max-age=300");
        let set: Value = serde_json::from_slice(&body).unwrap();
        let key = &set["keys"][0];
        let public = world.signer("access").public_key();
        let told = ["kty", "crv", "kid", "alg", "use", "x"].map(|name| key[name].as_str().unwrap());
        assert_eq!(told, ["OKP", "Ed25519", &public.kid, "EdDSA", "sig", &public.x]);
        assert_eq!(key.as_object().unwrap().len(), 6, "and nothing else: {key}");
        let (head, none) = ask(address, http2, "HEAD", "/.well-known/jwks.json").await;
        assert_eq!(
            (head.headers()[header::CONTENT_LENGTH].to_str().unwrap(), none.len()),
            (&*body.len().to_string(), 0)
        );
        let (refused, _) = ask(address, http2, "POST", "/.well-known/jwks.json").await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn nothing_else_is_served_over_http1() {
    let world = world();
    let address = served(&world).await;
    for path in ["/", "/.well-known/jwks.json/", "/diwan.identity.v1.SessionService/SignIn"] {
        assert_eq!(ask(address, false, "POST", path).await.0.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_process_that_is_cut_off_from_identity_gives_out_no_keys() {
    let clock = diwan_runtime::MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let world = World::new(std::sync::Arc::new(clock.clone()));
    let fresh = diwan_access::Revocations::default();
    fresh.learn(&[], Timestamp::from_second(1_800_000_000).unwrap());
    let keys = diwan_access::Keys::load(&world.context("billing", diwan_runtime::Env::default()).keys).unwrap();
    let verifier = diwan_access::Verifier::new(keys, fresh, std::sync::Arc::new(clock.clone()));
    let rules = std::sync::Arc::new(diwan_access::Rules::load().unwrap());
    let fake = Fake::new(async |_| Ok("a word".to_owned()));
    let front = Front::new("billing", diwan_access::Admission::new(rules, verifier), fake).publishing_keys();
    let address = listen(front, &world.drain).await;
    assert_eq!(ask(address, true, "GET", "/.well-known/jwks.json").await.0.status(), StatusCode::OK);
    clock.advance(std::time::Duration::from_secs(6));
    let (answer, _) = ask(address, true, "GET", "/.well-known/jwks.json").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
}
