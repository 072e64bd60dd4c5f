//! Forged, foreign, stale and revoked tokens, and who the rules admit.

mod cut;
mod operators;
mod principals;
mod retired;
mod seen_before;

use std::{sync::Arc, time::Duration};

use diwan_proto::{
    access::v1::{self as proto, Grant, Role},
    identity::v1::{KeySet, OperatorRevocation, Revocation, RevocationSubject, operator_revocation::Tokens},
};
use diwan_runtime::{Clock, MockClock};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jiff::Timestamp;
use tempfile::TempDir;
use tonic::Code;
use uuid::Uuid;

use crate::{
    AccessKeys, Admission, Caller, Keys, Operator, Revocations, Rules, SERVICE_TOKEN, Signer, Verifier,
    admission::admits,
    keys,
    token::{self, AUDIENCE, AccessClaims, Epochs},
};

const GET_ACCOUNT: &str = "/diwan.identity.v1.AccountService/GetAccount";
const GET_SUBSCRIPTION: &str = "/diwan.billing.v1.SubscriptionService/GetSubscription";
const INVITE: &str = "/diwan.identity.v1.UserService/InviteUser";
const TAKE_SEAT: &str = "/diwan.billing.v1.SeatService/TakeSeat";
const SET_SEATS: &str = "/diwan.billing.v1.SubscriptionService/SetSeatLimit";
const SIGN_IN: &str = "/diwan.identity.v1.SessionService/SignIn";

struct World {
    folder: TempDir,
    clock: MockClock,
    revocations: Revocations,
    admission: Admission,
    access: Signer,
    access_keys: AccessKeys,
}

fn access_signer(clock: &MockClock) -> Signer {
    Signer::from_pkcs8(&keys::generate().unwrap().private, keys::ACCESS, Arc::new(clock.clone())).unwrap()
}

fn set(signers: &[&Signer]) -> KeySet {
    KeySet { keys: signers.iter().map(|signer| signer.public_key()).collect() }
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        keys::ensure(folder.path(), &keys::ISSUERS).unwrap();
        let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
        let revocations = Revocations::default();
        revocations.learn(&[], clock.now());
        let public = Keys::load(folder.path()).unwrap();
        let (access, access_keys) = (access_signer(&clock), public.access().clone());
        access_keys.learn(&set(&[&access]), clock.now());
        let verifier = Verifier::new(public, revocations.clone(), Arc::new(clock.clone()));
        let admission = Admission::new(Arc::new(Rules::load().unwrap()), verifier);
        Self { folder, clock, revocations, admission, access, access_keys }
    }

    fn signer(&self, issuer: &str) -> Signer {
        if issuer == keys::ACCESS {
            return self.access.clone();
        }
        Signer::load(self.folder.path(), issuer, Arc::new(self.clock.clone())).unwrap()
    }

    fn claims(&self, role: Role, grants: &[Grant]) -> AccessClaims {
        AccessClaims {
            registered: self.signer("access").registered(AUDIENCE, Duration::from_mins(5)),
            sub: Uuid::from_u128(1),
            acc: Uuid::from_u128(2),
            sid: Uuid::from_u128(3),
            role: role.into(),
            grants: grants.iter().map(|grant| i32::from(*grant)).collect(),
            epochs: Epochs::default(),
        }
    }

    fn token(&self, role: Role) -> String {
        self.signer("access").sign(&self.claims(role, &[])).unwrap()
    }

    fn call(&self, path: &str, bearer: &str) -> Result<Caller, Code> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {bearer}")).unwrap());
        self.admission.admit(path, &headers, "identity").map_err(|fault| fault.code())
    }

    fn call_as_service(&self, path: &str, token: &str, service: &str) -> Result<Caller, Code> {
        let headers = HeaderMap::from_iter([(SERVICE_TOKEN, HeaderValue::from_str(token).unwrap())]);
        self.admission.admit(path, &headers, service).map_err(|fault| fault.code())
    }
}

#[test]
fn roles_and_grants_admit_as_declared() {
    let world = World::new();
    let with_grant = world.claims(Role::User, &[Grant::SubscriptionManagement]);
    let granted = world.signer("access").sign(&with_grant).unwrap();
    assert!(world.call(INVITE, &world.token(Role::Admin)).is_ok());
    assert_eq!(world.call(INVITE, &world.token(Role::User)), Err(Code::PermissionDenied));
    assert_eq!(world.call(INVITE, &granted), Err(Code::PermissionDenied));
    assert_eq!(world.call(GET_SUBSCRIPTION, &world.token(Role::Admin)), Err(Code::PermissionDenied));
    assert!(world.call(GET_SUBSCRIPTION, &granted).is_ok());
    assert!(world.call(GET_SUBSCRIPTION, &world.token(Role::Owner)).is_ok());
    assert_eq!(world.call(TAKE_SEAT, &world.token(Role::Owner)), Err(Code::PermissionDenied));
}

#[test]
fn a_token_that_is_forged_foreign_or_stale_is_refused() {
    let world = World::new();
    let good = world.token(Role::Owner);
    let claims = |change: fn(&mut AccessClaims)| {
        let mut claims = world.claims(Role::Owner, &[]);
        change(&mut claims);
        claims
    };
    let sign = |issuer: &str, claims: &AccessClaims| world.signer(issuer).sign(claims).unwrap();
    let unsigned = {
        let (_, rest) = good.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")
    };
    let cases = [
        ("truncated", good[..good.len() - 4].to_owned()),
        ("alg none", unsigned),
        ("another key with our issuer", sign("gateway", &world.claims(Role::Owner, &[]))),
        ("another audience", sign("access", &claims(|claims| claims.registered.aud = "other".into()))),
        ("another issuer", sign("access", &claims(|claims| claims.registered.iss = "gateway".into()))),
        ("expired", sign("access", &claims(|claims| claims.registered.exp = claims.registered.iat))),
        ("not yet good", sign("access", &claims(|claims| claims.registered.nbf += 60))),
        ("oversized", format!("{good}{}", "A".repeat(5000))),
        ("empty", String::new()),
    ];
    for (case, token) in cases {
        assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unauthenticated), "{case}");
    }
    assert!(world.call(GET_ACCOUNT, &good).is_ok());
}

#[test]
fn a_token_signed_with_the_public_key_as_an_hmac_secret_is_refused() {
    let world = World::new();
    let key = world.access.public_key();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some(key.kid);
    let secret = jsonwebtoken::EncodingKey::from_secret(key.x.as_bytes());
    let token = jsonwebtoken::encode(&header, &world.claims(Role::Owner, &[]), &secret).unwrap();
    assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unauthenticated));
}

#[test]
fn a_revoked_epoch_is_refused_and_a_later_one_is_good() {
    let world = World::new();
    let old = world.token(Role::User);
    let revocation = |id: u128| Revocation {
        subject: RevocationSubject::User.into(),
        subject_id: Uuid::from_u128(id).to_string(),
        epoch: 1,
    };
    world.revocations.learn(&[revocation(99)], world.clock.now());
    assert!(world.call(GET_ACCOUNT, &old).is_ok());
    world.revocations.learn(&[revocation(1)], world.clock.now());
    assert_eq!(world.call(GET_ACCOUNT, &old), Err(Code::Unauthenticated));
    let mut claims = world.claims(Role::User, &[]);
    claims.epochs.user = 1;
    assert!(world.call(GET_ACCOUNT, &world.signer("access").sign(&claims).unwrap()).is_ok());
}

#[test]
fn a_verifier_that_has_heard_nothing_for_five_seconds_refuses_users_and_still_lets_them_sign_in() {
    let world = World::new();
    let token = world.token(Role::Owner);
    world.clock.advance(Duration::from_secs(5));
    assert!(world.call(GET_ACCOUNT, &token).is_ok());
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unavailable));
    assert_eq!(world.call(SIGN_IN, &token), Ok(Caller::Nobody));
    world.revocations.learn(&[], world.clock.now());
    assert!(world.call(GET_ACCOUNT, &token).is_ok());
}

#[test]
fn a_service_token_is_good_for_one_service_and_for_the_methods_that_name_its_issuer() {
    let world = World::new();
    let token = world.signer("identity").service_token("billing").unwrap().to_str().unwrap().to_owned();
    assert_eq!(world.call_as_service(TAKE_SEAT, &token, "billing"), Ok(Caller::Service("identity".into())));
    assert_eq!(world.call_as_service(TAKE_SEAT, &token, "team"), Err(Code::Unauthenticated));
    let other = world.signer("mailbox").service_token("billing").unwrap().to_str().unwrap().to_owned();
    assert_eq!(world.call_as_service(TAKE_SEAT, &other, "billing"), Err(Code::PermissionDenied));
    assert_eq!(world.call(TAKE_SEAT, &token), Err(Code::Unauthenticated));
    assert_eq!(world.call_as_service(GET_ACCOUNT, &world.token(Role::Owner), "identity"), Err(Code::Unauthenticated));
}

#[test]
fn an_unknown_method_is_unimplemented_and_one_without_a_token_unauthenticated() {
    let world = World::new();
    let admit = |path| world.admission.admit(path, &HeaderMap::new(), "identity").map_err(|fault| fault.code());
    assert_eq!(admit("/diwan.identity.v1.UserService/DropTables"), Err(Code::Unimplemented));
    assert_eq!(admit(INVITE), Err(Code::Unauthenticated));
    assert_eq!(admit(SIGN_IN), Ok(Caller::Nobody));
}

#[test]
fn a_key_signs_only_its_own_kind_of_token_in_its_own_name() {
    let world = World::new();
    let as_issuer = |key: &str, named: &str, audience: &str| {
        let mut registered = world.signer(key).registered(audience, Duration::from_mins(1));
        registered.iss = named.to_owned();
        world.signer(key).sign(&token::ServiceClaims { registered }).unwrap()
    };
    // mailbox calls itself identity, and the operators' and the users' key call themselves a service.
    for (key, named) in [("mailbox", "identity"), (keys::OPERATOR, "identity"), (keys::ACCESS, "identity")] {
        let forged = as_issuer(key, named, "billing");
        assert_eq!(world.call_as_service(TAKE_SEAT, &forged, "billing"), Err(Code::Unauthenticated), "{key}");
    }
    // A token for all of Diwan is one for no service.
    let broad = as_issuer("identity", "identity", AUDIENCE);
    assert_eq!(world.call_as_service(TAKE_SEAT, &broad, "billing"), Err(Code::Unauthenticated));
    // The users' key makes no operator, the operators' key no user, whatever the claims say.
    let mut claims = serde_json::to_value(world.claims(Role::Owner, &[])).unwrap();
    claims["scopes"] = serde_json::json!(["billing.write"]);
    let by_access = world.signer(keys::ACCESS).sign(&claims).unwrap();
    assert_eq!(world.call(SET_SEATS, &by_access), Err(Code::PermissionDenied));
    claims["iss"] = serde_json::json!(keys::OPERATOR);
    claims["jti"] = serde_json::json!(Uuid::nil());
    let by_operator = world.signer(keys::OPERATOR).sign(&claims).unwrap();
    assert_eq!(world.call(GET_ACCOUNT, &by_operator), Err(Code::PermissionDenied));
}

#[test]
fn a_key_that_a_token_brings_along_proves_nothing() {
    let world = World::new();
    let good_kid = jsonwebtoken::decode_header(world.token(Role::Owner)).unwrap().kid;
    let private = keys::PrivateKey::read(&keys::generate().unwrap().private).unwrap();
    let key = keys::json_web_key(&private.public);
    let key = serde_json::json!({ "kty": key.kty, "crv": key.crv, "kid": key.kid, "x": key.x });
    for kid in [good_kid, Some(private.kid.clone()), None] {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.jwk = serde_json::from_value(key.clone()).ok();
        assert!(header.jwk.is_some());
        header.kid = kid;
        let token = jsonwebtoken::encode(&header, &world.claims(Role::Owner, &[]), &private.key).unwrap();
        assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unauthenticated), "{:?}", header.kid);
    }
}

/// Both keys are accepted as long as both are in the set, and one that has left it is refused at once.
#[test]
fn the_set_decides_which_keys_are_good_and_an_older_one_changes_nothing() {
    let world = World::new();
    let next = access_signer(&world.clock);
    let (old, new) = (world.token(Role::Owner), next.sign(&world.claims(Role::Owner, &[])).unwrap());
    assert_eq!(world.call(GET_ACCOUNT, &new), Err(Code::Unauthenticated));
    let before = world.clock.now();
    world.clock.advance(Duration::from_secs(1));
    world.access_keys.learn(&set(&[&world.access, &next]), world.clock.now());
    assert!(world.call(GET_ACCOUNT, &old).is_ok() && world.call(GET_ACCOUNT, &new).is_ok());
    world.access_keys.learn(&set(&[&next]), world.clock.now());
    assert_eq!(world.call(GET_ACCOUNT, &old), Err(Code::Unauthenticated), "withdrawn");
    world.access_keys.learn(&set(&[&world.access]), before);
    assert_eq!(world.call(GET_ACCOUNT, &old), Err(Code::Unauthenticated), "told by a replica that is behind");
    assert!(world.call(GET_ACCOUNT, &new).is_ok());
}

#[test]
fn whoever_has_not_heard_of_a_key_yet_does_not_call_its_token_bad() {
    let world = World::new();
    let unheard = access_signer(&world.clock).sign(&world.claims(Role::Owner, &[])).unwrap();
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(world.call(GET_ACCOUNT, &unheard), Err(Code::Unavailable));
    assert_eq!(world.call(GET_ACCOUNT, "nonsense"), Err(Code::Unauthenticated));
    world.revocations.learn(&[], world.clock.now());
    assert_eq!(world.call(GET_ACCOUNT, &unheard), Err(Code::Unauthenticated));
}

#[test]
fn a_key_in_the_bundle_never_signs_access_tokens() {
    let world = World::new();
    let bundle = world.folder.path().join("trust.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
    let own = access_signer(&world.clock);
    let key = own.public_key();
    let entry = serde_json::json!({ "kty": key.kty, "crv": key.crv, "kid": key.kid, "x": key.x, "iss": keys::ACCESS });
    json["keys"].as_array_mut().unwrap().push(entry);
    std::fs::write(&bundle, serde_json::to_vec(&json).unwrap()).unwrap();
    let public = Keys::load(world.folder.path()).unwrap();
    let verifier = Verifier::new(public, world.revocations.clone(), Arc::new(world.clock.clone()));
    let token = own.sign(&world.claims(Role::Owner, &[])).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())]);
    assert_eq!(verifier.caller(&headers, "identity").map_err(|fault| fault.code()), Err(Code::Unauthenticated));
}

#[test]
fn every_single_changed_character_and_every_cut_makes_a_token_bad() {
    let world = World::new();
    let good = world.token(Role::Owner);
    for at in 0..good.len() {
        assert_eq!(world.call(GET_ACCOUNT, &good[..at]), Err(Code::Unauthenticated), "cut to {at}");
    }
    // The last character of each part carries bits that base64url ignores or rejects; the rest are all signed.
    for (at, byte) in good.bytes().enumerate().filter(|(_, byte)| *byte != b'.') {
        let mut changed = good.clone().into_bytes();
        changed[at] = if byte == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(world.call(GET_ACCOUNT, &changed), Err(Code::Unauthenticated), "changed at {at}");
    }
}
