//! Operators' tokens: scopes, ends, revocations.

use super::*;

#[test]
fn an_operator_needs_the_scope_and_loses_it_when_the_token_expires() {
    let world = World::new();
    let token = |scope: &str| {
        world.signer("operator").operator_token("ops", vec![scope.to_owned()], Duration::from_mins(1)).unwrap()
    };
    let (good, other) = (token("billing.write"), token("accounts.read"));
    assert!(world.call(SET_SEATS, &good).is_ok());
    assert_eq!(world.call(SET_SEATS, &other), Err(Code::PermissionDenied));
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.call(SET_SEATS, &good), Err(Code::Unauthenticated));
}

#[test]
fn every_method_for_operators_asks_for_a_scope_and_an_empty_one_opens_nothing() {
    let rules = Rules::load().unwrap();
    for (path, rule) in rules.all().filter(|(_, rule)| rule.callers().any(|caller| caller == proto::Caller::Operator)) {
        assert!(!rule.scope.is_empty(), "{path}");
    }
    let unscoped = proto::Rule { callers: vec![proto::Caller::Operator.into()], ..proto::Rule::default() };
    let operator =
        Caller::Operator(Operator { name: "ops".into(), token_id: Uuid::nil(), scopes: vec![String::new()] });
    assert!(!admits(&unscoped, &operator));
}

fn refused(tokens: Tokens, issued_until: i64) -> OperatorRevocation {
    let issued_until = Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(issued_until.unsigned_abs()));
    OperatorRevocation {
        tokens: Some(tokens),
        issued_until: issued_until.map(Into::into),
        ..OperatorRevocation::default()
    }
}

#[test]
fn an_operators_token_is_refused_by_its_id_or_by_his_name_and_time() {
    let world = World::new();
    let signer = world.signer(keys::OPERATOR);
    let made = |name: &str| {
        let claims = signer.operator_claims(name, vec!["billing.write".into()], Duration::from_hours(1));
        (claims.jti, signer.sign(&claims).unwrap())
    };
    let ((id, one), (_, other), (_, stranger)) = (made("ada"), made("ada"), made("bo"));
    let revoke = |tokens| {
        world.revocations.learn_operators(&[refused(tokens, world.clock.now().as_second())], world.clock.now());
    };
    revoke(Tokens::TokenId(id.to_string()));
    assert_eq!(world.call(SET_SEATS, &one), Err(Code::Unauthenticated));
    assert!(world.call(SET_SEATS, &other).is_ok());
    revoke(Tokens::Operator("ada".into()));
    assert_eq!(world.call(SET_SEATS, &other), Err(Code::Unauthenticated));
    assert!(world.call(SET_SEATS, &stranger).is_ok());
    world.clock.advance(Duration::from_secs(1));
    world.revocations.learn(&[], world.clock.now());
    let (_, later) = made("ada");
    assert!(world.call(SET_SEATS, &later).is_ok(), "made after the time");
}

#[test]
fn a_revoked_operators_token_stays_refused_for_as_long_as_one_can_live_and_a_longer_life_is_refused() {
    let world = World::new();
    let signer = world.signer(keys::OPERATOR);
    let mut claims = signer.operator_claims("ada", vec!["billing.write".into()], Duration::from_hours(48));
    assert_eq!(claims.registered.exp - claims.registered.iat, 24 * 3600, "no longer one is made");
    let id = Tokens::TokenId(claims.jti.to_string());
    let token = signer.sign(&claims).unwrap();
    world.revocations.learn_operators(&[refused(id, 0)], world.clock.now());
    world.clock.advance(Duration::from_hours(24) - Duration::from_secs(1));
    world.revocations.learn_operators(&[], world.clock.now());
    world.revocations.learn(&[], world.clock.now());
    assert_eq!(world.call(SET_SEATS, &token), Err(Code::Unauthenticated));
    claims.jti = Uuid::from_u128(7);
    assert!(world.call(SET_SEATS, &signer.sign(&claims).unwrap()).is_ok(), "the same token under another id is good");
    claims.registered.exp += 1;
    assert_eq!(world.call(SET_SEATS, &signer.sign(&claims).unwrap()), Err(Code::Unauthenticated));
}

#[test]
fn a_verifier_that_has_heard_nothing_for_five_seconds_refuses_operators_too() {
    let world = World::new();
    let token =
        world.signer(keys::OPERATOR).operator_token("ada", vec!["billing.write".into()], Duration::from_hours(1));
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(world.call(SET_SEATS, &token.unwrap()), Err(Code::Unavailable));
}
