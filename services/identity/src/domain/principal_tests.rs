//! What proves a principal, and what does not.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

const PRINCIPAL: Uuid = Uuid::from_u128(7);
const CREDENTIAL: Uuid = Uuid::from_u128(8);

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

struct Signer {
    key: EncodingKey,
    public: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let public = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap().public_key().as_ref().to_vec();
        Self { key: EncodingKey::from_ed_der(document.as_ref()), public }
    }

    fn credential(&self) -> Credential {
        let proof = Proof::Key(self.public.clone());
        Credential { id: CREDENTIAL, proof, epoch: 0, created_at: now(), expires_at: None }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(CREDENTIAL.to_string()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

fn claims() -> Value {
    let exp = now().as_second() + 60;
    json!({"iss": PRINCIPAL, "sub": PRINCIPAL, "aud": AUDIENCE, "exp": exp, "jti": "one"})
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[field] = value;
    claims
}

fn is_taken(token: &str, credential: &Credential) -> bool {
    let read = Presentation::read(token);
    read.is_some_and(|read| matches!(read.proves(credential, PRINCIPAL, now()), Some(Proved::ByAssertion(_))))
}

#[test]
fn a_good_assertion_proves_its_principal() {
    let signer = Signer::new();
    assert!(is_taken(&signer.sign(&claims()), &signer.credential()));
    assert!(is_taken(&signer.sign(&with("aud", json!(["other", AUDIENCE]))), &signer.credential()));
    assert!(is_taken(&signer.sign(&with("exp", json!(now().as_second() + 300))), &signer.credential()));
}

#[test]
fn an_assertion_that_is_foreign_stale_too_long_or_nameless_proves_nothing() {
    let signer = Signer::new();
    let second = now().as_second();
    let bad = [
        with("iss", json!(CREDENTIAL)),
        with("sub", json!(CREDENTIAL)),
        with("aud", json!("other")),
        with("aud", json!([])),
        with("exp", json!(second)),
        with("exp", json!(second + 306)),
        with("exp", json!(i64::MAX)),
        with("nbf", json!(second + 6)),
        with("jti", json!("")),
        with("jti", json!("x".repeat(129))),
    ];
    for claims in bad {
        assert!(!is_taken(&signer.sign(&claims), &signer.credential()), "{claims}");
    }
    for field in ["iss", "sub", "aud", "exp", "jti"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(field);
        assert!(!is_taken(&signer.sign(&claims), &signer.credential()), "{field}");
    }
}

#[test]
fn only_the_credentials_own_key_signs_and_only_with_its_own_algorithm() {
    let (signer, other) = (Signer::new(), Signer::new());
    assert!(!is_taken(&other.sign(&claims()), &signer.credential()));
    let good = signer.sign(&claims());
    assert!(!is_taken(&good[..good.len() - 3], &signer.credential()));
    let header = |alg| Header { kid: Some(CREDENTIAL.to_string()), ..Header::new(alg) };
    let hmac = EncodingKey::from_secret(&signer.public);
    let confused = jsonwebtoken::encode(&header(Algorithm::HS256), &claims(), &hmac).unwrap();
    assert!(!is_taken(&confused, &signer.credential()));
    let nameless = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims(), &signer.key).unwrap();
    assert!(Presentation::read(&nameless).is_none());
}

#[test]
fn a_secret_proves_only_the_credential_that_it_was_made_for() {
    let (secret, other) = (Secret::new(CREDENTIAL), Secret::new(CREDENTIAL));
    let proof = Proof::Secret { hash: secret.hash(), hint: secret.hint() };
    let credential = Credential { proof, ..Signer::new().credential() };
    let proves = |text: &str| Presentation::read(text).unwrap().proves(&credential, PRINCIPAL, now()).is_some();
    assert!(proves(&secret.write()));
    assert!(!proves(&other.write()));
    assert!(
        Presentation::read(&secret.write()).unwrap().proves(&Signer::new().credential(), PRINCIPAL, now()).is_none()
    );
}

#[test]
fn no_token_outlives_its_credential_and_a_shorter_life_cuts_those_that_would() {
    let later = |seconds| after(now(), Duration::from_secs(seconds));
    let until = |expires_at| Credential { expires_at, ..Signer::new().credential() };
    assert_eq!(until(None).token_life(now()), ACCESS_LIFE);
    assert_eq!(until(Some(later(60))).token_life(now()), Duration::from_mins(1));
    assert!(!until(Some(later(60))).is_good(later(60)));
    for (before, after, cut) in [
        (None, Some(later(3600)), false),
        (None, Some(later(60)), true),
        (Some(later(120)), Some(later(60)), true),
        (Some(later(60)), Some(later(120)), false),
        (Some(later(60)), None, false),
    ] {
        assert_eq!(until(before).is_cut_short_by(after, now()), cut, "{before:?} {after:?}");
    }
}

#[test]
fn a_principal_is_for_its_own_account_or_for_those_that_an_operator_named() {
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let of = |account, account_ids: &[Uuid], all_accounts| Principal {
        account,
        id: PRINCIPAL,
        name: String::new(),
        scopes: Vec::new(),
        account_ids: account_ids.to_vec(),
        all_accounts,
        disabled_at: None,
        epoch: 0,
        version: 1,
        created_at: now(),
    };
    let own = of(one, &[], false);
    assert_eq!((own.may_enter(one), own.may_enter(other), own.only_account()), (true, false, Some(one)));
    assert!(!own.may_enter(INSTALLATION));
    let named = of(INSTALLATION, &[one], false);
    assert_eq!((named.may_enter(one), named.may_enter(other), named.only_account()), (true, false, Some(one)));
    let none = of(INSTALLATION, &[], false);
    assert_eq!((none.may_enter(INSTALLATION), none.only_account()), (false, None));
    let all = of(INSTALLATION, &[one], true);
    assert_eq!((all.may_enter(other), all.only_account()), (true, None));
}
