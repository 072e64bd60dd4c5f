//! Streams that are open while something happens to the access that they were opened with.

use std::task::{Context, Waker};

use super::*;
use crate::Cut;

const WATCH_INBOX: &str = "/diwan.conversation.v1.InboxService/WatchInbox";

impl World {
    fn stream(&self) -> Cut {
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token(Role::User))).unwrap();
        self.admission.cut(WATCH_INBOX, &HeaderMap::from_iter([(AUTHORIZATION, bearer)])).unwrap()
    }
}

fn is_open(stream: &mut Cut) -> bool {
    stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn it_ends_with_the_access_of_its_user_and_with_nobody_elses() {
    let world = World::new();
    let mut stream = world.stream();
    for (user, open) in [(9, true), (1, false)] {
        let subject_id = Uuid::from_u128(user).to_string();
        let revocation = Revocation { subject: RevocationSubject::User.into(), subject_id, epoch: 1 };
        world.revocations.learn(&[revocation], world.clock.now());
        if open {
            assert!(is_open(&mut stream));
        }
    }
    assert_eq!(stream.await.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn it_goes_on_when_its_key_leaves_the_set_in_time_and_ends_when_the_key_is_withdrawn() {
    let world = World::new();
    let mut stream = world.stream();
    let other = access_signer(&world.clock);
    world.access_keys.learn(&set(&[&other]), world.clock.now());
    let withdraw = |key: &Signer| {
        let subject_id = keys::subject(&key.public_key().kid).unwrap().to_string();
        let revocation = Revocation { subject: RevocationSubject::Credential.into(), subject_id, epoch: 1 };
        world.revocations.learn(&[revocation], world.clock.now());
    };
    withdraw(&other);
    assert!(is_open(&mut stream));
    withdraw(&world.access);
    assert_eq!(stream.await.code(), Code::Unauthenticated);
}

/// Between the moment in which somebody is let in and the one in which his stream begins to be watched.
#[tokio::test]
async fn it_ends_at_once_where_its_key_is_withdrawn_as_it_begins() {
    let world = World::new();
    let bearer = HeaderValue::from_str(&format!("Bearer {}", world.token(Role::User))).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    world.admission.admit(WATCH_INBOX, &headers, "conversation").unwrap();
    world.access_keys.learn(&set(&[&access_signer(&world.clock)]), world.clock.now());
    assert_eq!(world.admission.cut(WATCH_INBOX, &headers).unwrap().await.code(), Code::Unauthenticated);
}

/// A revocation could have been missed for good: whoever is back after more than ten minutes is told of the last ten only.
#[tokio::test]
async fn it_ends_when_identity_is_silent_for_too_long_and_not_before() {
    let world = World::new();
    let mut stream = world.stream();
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(4));
        assert!(is_open(&mut stream));
        world.revocations.learn(&[], world.clock.now());
    }
    world.clock.advance(Duration::from_secs(5));
    assert!(is_open(&mut stream));
    world.clock.advance(Duration::from_secs(1));
    let ended = stream.await;
    assert_eq!((ended.code(), ended.reason()), (Code::Unavailable, "REVOCATION_UNKNOWN"));
}
