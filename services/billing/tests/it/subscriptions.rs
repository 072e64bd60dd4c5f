//! Trials, seat limits, and who may see them.

use std::time::Duration;

use diwan_proto::{
    access::v1::{Grant, Role},
    billing::v1::{
        GetSubscriptionRequest, ListSeatsRequest, SetSeatLimitRequest, StartTrialRequest, Subscription,
        SubscriptionState, seat_service_client::SeatServiceClient,
        subscription_service_client::SubscriptionServiceClient,
    },
};
use diwan_runtime::{Clock as _, ids};
use diwan_testkit::{Person, bad_fields, metadata, reason};
use futures::future::join_all;
use tonic::{Code, Status};

use crate::support::{Billing, proto};

const TRIAL: Duration = Duration::from_hours(24 * 14);

async fn subscription_as_seen_by(billing: &Billing, person: &Person) -> Result<Subscription, Status> {
    let request = billing.worlds[0].request(person, GetSubscriptionRequest {});
    let answer = SubscriptionServiceClient::new(billing.worlds[0].to("billing")).get_subscription(request).await?;
    Ok(answer.into_inner().subscription.unwrap())
}

async fn limit_as(billing: &Billing, scope: &str, message: SetSeatLimitRequest) -> Result<Subscription, Status> {
    let request = billing.worlds[0].operator(scope, message);
    let answer = SubscriptionServiceClient::new(billing.worlds[0].to("billing")).set_seat_limit(request).await?;
    Ok(answer.into_inner().subscription.unwrap())
}

fn limit(billing: &Billing, request_id: &str, seats: i32) -> SetSeatLimitRequest {
    SetSeatLimitRequest { request_id: request_id.into(), account_id: billing.owner.account.to_string(), seats }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_is_started_many_times_at_once_is_one_trial_with_the_owner_in_the_first_seat() {
    let billing = Billing::empty().await;
    let started = join_all((0..16).map(|place| billing.start_trial(place))).await;
    let expected = Subscription {
        account_id: billing.owner.account.to_string(),
        plan: "trial".into(),
        state: SubscriptionState::Trial.into(),
        seats: 5,
        seats_held: 1,
        trial_ends_at: Some(proto(billing.clock.now() + TRIAL)),
    };
    for subscription in started {
        assert_eq!(subscription.unwrap(), expected);
    }
    let holders = billing.holders(50).await;
    assert_eq!(holders.len(), 1);
    assert_eq!((holders[0].user_id.clone(), holders[0].lease_expires_at), (billing.owner.user.to_string(), None));
    billing.clock.advance(Duration::from_hours(1));
    assert_eq!(billing.start_trial(0).await.unwrap(), expected, "an hour later it still ends when it did");
}

#[tokio::test]
async fn a_repeated_trial_gives_no_further_seat_away() {
    let billing = Billing::with_trial().await;
    let other = ids::new_id().to_string();
    let message = StartTrialRequest { account_id: billing.owner.account.to_string(), owner_id: other };
    billing.subscriptions(1).start_trial(message).await.unwrap();
    assert_eq!(billing.holders(50).await.len(), 1);
}

#[tokio::test]
async fn seats_are_never_limited_below_those_that_are_held() {
    let billing = Billing::with_trial().await;
    assert_eq!(billing.set_limit(8).await.unwrap().seats, 8);
    billing.rush(6, None).await;
    let refusal = billing.set_limit(6).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::FailedPrecondition, "SEATS_IN_USE"));
    assert_eq!(metadata(&refusal, "held").as_deref(), Some("7"));
    assert_eq!(billing.set_limit(7).await.unwrap().seats, 7);
    assert_eq!(subscription_as_seen_by(&billing, &billing.owner).await.unwrap().seats_held, 7);
}

#[tokio::test]
async fn an_expired_invitation_does_not_keep_the_limit_up() {
    let billing = Billing::with_trial().await;
    billing.set_limit(6).await.unwrap();
    billing.rush(5, Some(Duration::from_mins(1))).await;
    assert_eq!(reason(&billing.set_limit(5).await.unwrap_err()), "SEATS_IN_USE");
    billing.clock.advance(Duration::from_mins(1));
    assert_eq!(billing.set_limit(5).await.unwrap().seats_held, 1);
}

#[tokio::test]
async fn a_repeated_request_for_a_limit_gets_the_first_answer_and_changes_nothing() {
    let billing = Billing::with_trial().await;
    let first = limit_as(&billing, "billing.write", limit(&billing, "a", 9)).await.unwrap();
    limit_as(&billing, "billing.write", limit(&billing, "b", 7)).await.unwrap();
    assert_eq!(limit_as(&billing, "billing.write", limit(&billing, "a", 9)).await.unwrap(), first);
    assert_eq!(subscription_as_seen_by(&billing, &billing.owner).await.unwrap().seats, 7);
    let refusal = limit_as(&billing, "billing.write", limit(&billing, "a", 10)).await.unwrap_err();
    assert_eq!(reason(&refusal), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_limit_needs_the_scope_good_fields_and_a_subscription() {
    let billing = Billing::with_trial().await;
    let refusal = limit_as(&billing, "billing.read", limit(&billing, "a", 9)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    let message = SetSeatLimitRequest { account_id: "none".into(), ..limit(&billing, "", 4) };
    let refusal = limit_as(&billing, "billing.write", message).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["request_id", "account_id", "seats"]);
    let message = SetSeatLimitRequest { account_id: ids::new_id().to_string(), ..limit(&billing, "a", 100_000) };
    let refusal = limit_as(&billing, "billing.write", message).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "SUBSCRIPTION_NOT_FOUND"));
}

#[tokio::test]
async fn the_owner_and_whoever_manages_the_subscription_see_it_and_nobody_else() {
    let billing = Billing::with_trial().await;
    let manager = Person { grants: vec![Grant::SubscriptionManagement], ..billing.owner.colleague(Role::User) };
    for person in [&billing.owner, &manager] {
        assert_eq!(subscription_as_seen_by(&billing, person).await.unwrap().seats_held, 1);
    }
    for role in [Role::Admin, Role::User] {
        let person = billing.owner.colleague(role);
        assert_eq!(subscription_as_seen_by(&billing, &person).await.unwrap_err().code(), Code::PermissionDenied);
        let request = billing.worlds[0].request(&person, ListSeatsRequest::default());
        let listed = SeatServiceClient::new(billing.worlds[0].to("billing")).list_seats(request).await;
        assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
    }
    let stranger = Person::owner();
    assert_eq!(subscription_as_seen_by(&billing, &stranger).await.unwrap_err().code(), Code::NotFound);
    let request = billing.worlds[0].request(&stranger, ListSeatsRequest::default());
    let listed = SeatServiceClient::new(billing.worlds[0].to("billing")).list_seats(request).await.unwrap();
    assert!(listed.into_inner().seats.is_empty());
}

#[tokio::test]
async fn every_table_has_its_place_in_a_cluster() {
    let billing = Billing::empty().await;
    let missing = diwan_testkit::undistributed(&billing.database.pool, include_str!("../../distribute.sql")).await;
    assert!(missing.is_empty(), "{missing:?}");
}
