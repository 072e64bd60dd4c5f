//! Tokens that were proven before: the signature is remembered, nothing else is.

use super::*;

#[test]
fn a_token_that_was_good_a_moment_ago_is_refused_once_it_has_expired() {
    let world = World::new();
    let token = world.token(Role::Owner);
    assert!(world.call(GET_ACCOUNT, &token).is_ok());
    world.clock.advance(Duration::from_mins(5));
    world.revocations.learn(&[], world.clock.now());
    assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unauthenticated));
}

#[test]
fn a_token_that_was_good_a_moment_ago_is_refused_once_its_key_is_withdrawn() {
    let world = World::new();
    let token = world.token(Role::Owner);
    assert!(world.call(GET_ACCOUNT, &token).is_ok());
    world.access_keys.learn(&set(&[&access_signer(&world.clock)]), world.clock.now());
    assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unauthenticated));
}

#[test]
fn a_service_token_that_was_good_for_one_service_a_moment_ago_is_refused_by_another() {
    let world = World::new();
    let token = world.signer("identity").service_token("billing").unwrap().to_str().unwrap().to_owned();
    assert!(world.call_as_service(TAKE_SEAT, &token, "billing").is_ok());
    assert_eq!(world.call_as_service(TAKE_SEAT, &token, "team"), Err(Code::Unauthenticated));
}

#[test]
fn each_token_gives_its_own_caller_however_many_take_turns() {
    let world = World::new();
    let tokens: Vec<String> = (0..1000)
        .map(|user| {
            world.access.sign(&AccessClaims { sub: Uuid::from_u128(user), ..world.claims(Role::User, &[]) }).unwrap()
        })
        .collect();
    for _ in 0..2 {
        for (user, token) in tokens.iter().enumerate() {
            let Ok(Caller::User(caller)) = world.call(GET_ACCOUNT, token) else { panic!("refused") };
            assert_eq!(caller.user_id, Uuid::from_u128(user as u128));
        }
    }
}
