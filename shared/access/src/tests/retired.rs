//! Keys that sign nothing any more.

use std::fs;

use serde_json::json;

use super::*;

#[test]
fn a_retired_key_proves_what_was_signed_and_lets_nobody_in() {
    let world = World::new();
    let old = world.signer("identity");
    let proof = old.sign(&json!({"iss": "identity", "number": 7})).unwrap();
    let token = old.service_token("billing").unwrap().to_str().unwrap().to_owned();
    let path = |name: &str| world.folder.path().join(name);
    fs::rename(path("trust.json"), path("retired.json")).unwrap();
    fs::remove_file(path("identity.pem")).unwrap();
    keys::ensure(world.folder.path(), &keys::ISSUERS).unwrap();
    let keys = Keys::load(world.folder.path()).unwrap();
    assert_eq!(keys.signed::<serde_json::Value>(&proof, "identity").unwrap()["number"], 7);
    assert!(keys.signed::<serde_json::Value>(&proof, "team").is_none(), "it is identity's");
    let verifier = Verifier::new(keys, world.revocations.clone(), Arc::new(world.clock.clone()));
    let headers = HeaderMap::from_iter([(SERVICE_TOKEN, HeaderValue::from_str(&token).unwrap())]);
    assert_eq!(verifier.caller(&headers, "billing").unwrap_err().code(), Code::Unauthenticated);
}
