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
