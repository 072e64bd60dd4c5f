//! What it costs to prove a token: the first time, and every time after.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use diwan_access::{
    Keys, Revocations, Signer, Verifier, keys,
    token::{AUDIENCE, AccessClaims, Epochs},
};
use diwan_e2e::Failure;
use diwan_proto::{access::v1::Role, identity::v1::KeySet};
use diwan_runtime::{SystemClock, ids};
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;

use crate::report::{self, Report};

const TOKENS: usize = 2_000;
const ROUNDS: u32 = 50;

/// Measures both.
pub(crate) fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("tokens: proving an access token");
    let home = tempfile::tempdir()?;
    keys::ensure(home.path(), &keys::ISSUERS)?;
    let clock = Arc::new(SystemClock);
    let revocations = Revocations::default();
    revocations.learn(&[], Timestamp::MAX);
    let signer = Signer::from_pkcs8(&keys::generate()?.private, keys::ACCESS, clock.clone())?;
    let public = Keys::load(home.path())?;
    public.access().learn(&KeySet { keys: vec![signer.public_key()] }, Timestamp::MAX);
    let verifier = Verifier::new(public, revocations, clock);
    let requests = (0..TOKENS).map(|_| headers(&signer)).collect::<Result<Vec<_>, _>>()?;
    // A gateway sees many people: each is met for the first time once, then again and again in turn.
    let first = each(&verifier, &requests, 1)?;
    let again = each(&verifier, &requests, ROUNDS)?;
    report::figure("for the first time: an EdDSA verification", format!("{:.2} µs", micros(first)));
    report::figure(&format!("again, {TOKENS} callers in turn"), format!("{:.2} µs", micros(again)));
    let ratio = first.as_secs_f64() / again.as_secs_f64();
    report.bar("again is faster by: at least 20", format!("{ratio:.0}"), ratio >= 20.0);
    Ok(())
}

fn headers(signer: &Signer) -> Result<HeaderMap, Failure> {
    let claims = AccessClaims {
        registered: signer.registered(AUDIENCE, Duration::from_mins(5)),
        sub: ids::new_id(),
        acc: ids::new_id(),
        sid: ids::new_id(),
        role: Role::User.into(),
        grants: Vec::new(),
        epochs: Epochs::default(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {}", signer.sign(&claims)?).parse()?);
    Ok(headers)
}

fn each(verifier: &Verifier, requests: &[HeaderMap], rounds: u32) -> Result<Duration, Failure> {
    let begun = Instant::now();
    for _ in 0..rounds {
        for headers in requests {
            black_box(verifier.caller(black_box(headers), "gateway")?);
        }
    }
    Ok(begun.elapsed() / rounds / u32::try_from(requests.len())?)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
