//! Deactivation, revocation and reactivation.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    feed::v1::{WatchEventsRequest, feed_service_client::FeedServiceClient},
    identity::v1::{
        GetUserRequest, ReactivateUserRequest, RefreshSessionRequest, Revocation, UserChanged, UserState,
        WatchRevocationsRequest,
    },
};
use diwan_runtime::ids;
use jiff::Timestamp;
use prost::{Message as _, Name as _};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::house::{House, LIMIT, Member, PASSWORD, refusal, refused};

impl House {
    pub async fn reactivate(&self, actor: &Member, user: &str) -> Result<UserState, Status> {
        let request = ReactivateUserRequest { request_id: ids::new_id().to_string(), user_id: user.into() };
        Ok(self.users().reactivate_user(actor.says(request)).await?.into_inner().user.unwrap().state())
    }

    /// Deactivates a user; returns his revocation and how long after the answer a waiting verifier had it.
    async fn watched_deactivation(&self, actor: &Member, user: &str) -> (Revocation, Duration) {
        let mut stream = self.revocations().watch_revocations(WatchRevocationsRequest {}).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        let watching = tokio::spawn(async move {
            loop {
                let message = stream.message().await.unwrap().unwrap();
                if let Some(revocation) = message.revocations.into_iter().next() {
                    return (revocation, Instant::now());
                }
            }
        });
        self.deactivate(actor, user).await.unwrap();
        let answered = Instant::now();
        let (revocation, heard) = timeout(LIMIT, watching).await.unwrap().unwrap();
        (revocation, heard.saturating_duration_since(answered))
    }
}

#[tokio::test]
async fn a_deactivated_user_is_refused_everywhere_and_comes_back_as_he_was() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let (revocation, _) = house.watched_deactivation(&owner, &agent.user.id).await;
    assert_eq!((revocation.subject_id.as_str(), revocation.epoch), (agent.user.id.as_str(), 1));
    house.world.revocations.learn(&[revocation], Timestamp::MAX);
    let me = house.users().get_user(agent.says(GetUserRequest::default())).await;
    assert_eq!(refusal(me), refused(Code::Unauthenticated, "UNAUTHENTICATED"));
    let refresh = async || {
        let request = RefreshSessionRequest { refresh_token: agent.tokens.refresh_token.clone() };
        house.sessions().refresh_session(request).await
    };
    assert_eq!(refusal(refresh().await), refused(Code::Unauthenticated, "REFRESH_REFUSED"));
    assert_eq!(
        refusal(house.sign_in("omar@example.com", PASSWORD).await),
        refused(Code::Unauthenticated, "SIGN_IN_REFUSED")
    );
    assert!(!house.others.told().seats.contains_key(&agent.user.id), "his seat is free when the call answers");
    // Again changes nothing.
    let again = house.deactivate(&owner, &agent.user.id).await.unwrap();
    assert_eq!((again.state(), again.version), (UserState::Deactivated, 3));
    assert_eq!(house.reactivate(&owner, &agent.user.id).await.unwrap(), UserState::Active);
    assert_eq!(house.others.told().seats.get(&agent.user.id), Some(&false));
    assert_eq!(refusal(refresh().await), refused(Code::Unauthenticated, "REFRESH_REFUSED"), "his old session is over");
    let back = house.member("omar@example.com").await;
    house.users().get_user(back.says(GetUserRequest::default())).await.unwrap();
}

#[tokio::test]
async fn a_deactivation_reaches_verifiers_at_once_even_while_another_transaction_is_open() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let mut delays = Vec::new();
    for (number, open) in [(0, false), (1, false), (2, true), (3, true)] {
        let agent = house.colleague(&owner, &format!("agent{number}@example.com"), Role::User).await;
        let mut unrelated = house.database.pool.begin().await.unwrap();
        if open {
            sqlx::query("select pg_current_xact_id()").execute(&mut *unrelated).await.unwrap();
        }
        let (revocation, delay) = house.watched_deactivation(&owner, &agent.user.id).await;
        assert_eq!(revocation.subject_id, agent.user.id);
        unrelated.rollback().await.unwrap();
        delays.push(delay);
    }
    // Zero where the verifier had it before the answer was here.
    println!("from the answer to the verifier: {delays:?}");
    assert!(delays.iter().all(|delay| *delay < Duration::from_secs(1)), "{delays:?}");
}

#[tokio::test]
async fn a_revocation_that_commits_after_later_ones_is_told() {
    let house = House::new().await;
    let mut stream = house.revocations().watch_revocations(WatchRevocationsRequest {}).await.unwrap().into_inner();
    let insert = "insert into revocations (account_id, id, subject, subject_id, epoch, at)
                  values ($1, $1, 'REVOCATION_SUBJECT_USER', $1, 1, now())";
    let (early, late) = (ids::new_id(), ids::new_id());
    let mut slow = house.database.pool.begin().await.unwrap();
    sqlx::query(insert).bind(early).execute(&mut *slow).await.unwrap();
    sqlx::query(insert).bind(late).execute(&house.database.pool).await.unwrap();
    let mut told = Vec::new();
    while told.is_empty() {
        told.extend(timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap().revocations);
    }
    slow.commit().await.unwrap();
    while told.len() < 2 {
        told.extend(timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap().revocations);
    }
    let ids: Vec<_> = told.into_iter().map(|revocation| revocation.subject_id).collect();
    assert_eq!(ids, [late.to_string(), early.to_string()]);
}

#[tokio::test]
async fn the_owner_and_oneself_cannot_be_deactivated_and_strangers_are_not_found() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let stranger = house.owner("stranger@example.com").await;
    let deactivate = async |actor: &Member, user: &str| refusal(house.deactivate(actor, user).await);
    let protected = refused(Code::FailedPrecondition, "OWNER_IS_PROTECTED");
    assert_eq!(deactivate(&admin, &owner.user.id).await, protected);
    assert_eq!(deactivate(&owner, &owner.user.id).await, protected);
    let alone = refused(Code::FailedPrecondition, "CANNOT_DEACTIVATE_SELF");
    assert_eq!(deactivate(&admin, &admin.user.id).await, alone);
    let unknown = refused(Code::NotFound, "USER_NOT_FOUND");
    for id in [stranger.user.id.clone(), ids::new_id().to_string()] {
        assert_eq!(deactivate(&owner, &id).await, unknown);
        assert_eq!(refusal(house.reactivate(&owner, &id).await), unknown);
        let get = house.users().get_user(owner.says(GetUserRequest { user_id: id })).await;
        assert_eq!(refusal(get), unknown);
    }
    let active = refusal(house.reactivate(&owner, &admin.user.id).await);
    assert_eq!(active, refused(Code::FailedPrecondition, "USER_NOT_DEACTIVATED"));
    assert_eq!(house.others.told().seats.get(&admin.user.id), Some(&false), "the refusal has not touched his seat");
}

#[tokio::test]
async fn reactivation_needs_a_free_seat() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.deactivate(&owner, &agent.user.id).await.unwrap();
    house.others.told().limit = 1;
    let full = refusal(house.reactivate(&owner, &agent.user.id).await);
    assert_eq!(full, refused(Code::ResourceExhausted, "NO_SEAT_LEFT"));
    assert_eq!(
        refusal(house.sign_in("omar@example.com", PASSWORD).await),
        refused(Code::Unauthenticated, "SIGN_IN_REFUSED")
    );
    house.others.told().limit = 2;
    assert_eq!(house.reactivate(&owner, &agent.user.id).await.unwrap(), UserState::Active);
}

#[tokio::test]
async fn the_feed_tells_every_change_of_a_user() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.deactivate(&owner, &agent.user.id).await.unwrap();
    let mut feed = FeedServiceClient::new(house.world.to_as("identity", "team"));
    let mut events = feed.watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    let mut states = Vec::new();
    while states.len() < 3 {
        for event in timeout(LIMIT, events.message()).await.unwrap().unwrap().unwrap().events {
            let payload = event.payload.unwrap();
            if !payload.type_url.ends_with(&UserChanged::full_name()) {
                continue;
            }
            let user = UserChanged::decode(payload.value.as_slice()).unwrap().user.unwrap();
            assert_eq!((event.entity_id, event.entity_version), (user.id.clone(), user.version));
            if user.id == agent.user.id {
                states.push(user.state());
            }
        }
    }
    assert_eq!(states, [UserState::Invited, UserState::Active, UserState::Deactivated]);
}
