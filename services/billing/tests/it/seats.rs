//! Taking and releasing seats.

use std::{collections::HashSet, time::Duration};

use diwan_proto::billing::v1::{ReleaseSeatRequest, Seat, TakeSeatRequest};
use diwan_runtime::{Clock as _, ids};
use diwan_testkit::{bad_fields, metadata, reason};
use futures::future::join_all;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{Billing, proto};

const MINUTE: Duration = Duration::from_mins(1);
const WEEK: Duration = Duration::from_hours(24 * 7);

fn assert_all_refused_for_want_of_seats(refusals: &[Status], seats: i32) {
    for refusal in refusals {
        assert_eq!((refusal.code(), reason(refusal).as_str()), (Code::ResourceExhausted, "NO_SEAT_LEFT"));
        assert_eq!(metadata(refusal, "seats"), Some(seats.to_string()));
    }
}

async fn release(billing: &Billing, user: Uuid) {
    let message = ReleaseSeatRequest { account_id: billing.owner.account.to_string(), user_id: user.to_string() };
    billing.seats(1).release_seat(message).await.unwrap();
}

fn users(seats: &[Seat]) -> HashSet<&str> {
    seats.iter().map(|seat| seat.user_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_invitations_at_once_for_three_free_seats_exactly_three_succeed() {
    let billing = Billing::with_trial().await;
    billing.take(ids::new_id(), None).await.unwrap();
    let (taken, refused) = billing.rush(64, Some(WEEK)).await;
    assert_eq!((taken.len(), refused.len()), (3, 61));
    assert_all_refused_for_want_of_seats(&refused, 5);
    let holders = billing.holders(50).await;
    assert_eq!(holders.len(), 5);
    assert!(users(&taken).is_subset(&users(&holders)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_at_once_for_three_seats_whose_leases_expire_exactly_three_succeed_every_time() {
    let billing = Billing::with_trial().await;
    billing.take(ids::new_id(), Some(WEEK)).await.unwrap();
    let mut earlier = HashSet::new();
    for _ in 0..4 {
        let (taken, refused) = billing.rush(64, Some(MINUTE)).await;
        assert_eq!((taken.len(), refused.len()), (3, 61));
        assert_all_refused_for_want_of_seats(&refused, 5);
        assert!(taken.iter().all(|seat| earlier.insert(seat.user_id.clone())));
        billing.clock.advance(MINUTE.checked_sub(Duration::from_micros(1)).unwrap());
        assert_eq!(billing.rush(8, Some(MINUTE)).await.0.len(), 0, "the leases run a microsecond longer");
        billing.clock.advance(Duration::from_micros(1));
        assert_eq!(billing.holders(50).await.len(), 2, "an expired lease holds no seat");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from seats").fetch_one(&billing.database.pool).await.unwrap();
    assert!(rows <= 5, "expired seats are removed, {rows} are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_who_takes_a_seat_many_times_at_once_holds_one() {
    let billing = Billing::with_trial().await;
    let user = ids::new_id();
    let taken = join_all((0..32).map(|place| billing.take_at(place, user, Some(WEEK)))).await;
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    assert_eq!(billing.holders(50).await.len(), 2);
}

#[tokio::test]
async fn a_holder_keeps_his_seat_and_a_late_repetition_of_his_invitation_does_not_end_it() {
    let billing = Billing::with_trial().await;
    let user = ids::new_id();
    let first = billing.take(user, Some(MINUTE)).await.unwrap();
    billing.rush(3, None).await;
    billing.clock.advance(Duration::from_secs(1));
    let longer = billing.take(user, Some(WEEK)).await.unwrap();
    assert_eq!(longer.lease_expires_at, Some(proto(billing.clock.now() + WEEK)), "the lease is replaced");
    assert_eq!(longer.taken_at, first.taken_at);
    assert_eq!(billing.take(user, None).await.unwrap().lease_expires_at, None);
    assert_eq!(billing.take(user, Some(MINUTE)).await.unwrap().lease_expires_at, None);
    billing.clock.advance(WEEK);
    assert_eq!(billing.holders(50).await.len(), 5);
}

#[tokio::test]
async fn whoever_lets_his_lease_expire_stands_behind_those_who_came_meanwhile() {
    let billing = Billing::with_trial().await;
    let late = ids::new_id();
    billing.take(late, Some(MINUTE)).await.unwrap();
    billing.clock.advance(MINUTE);
    assert_eq!(billing.rush(8, None).await.0.len(), 4);
    assert_all_refused_for_want_of_seats(&[billing.take(late, None).await.unwrap_err()], 5);
}

#[tokio::test]
async fn a_released_seat_is_free_and_releasing_it_again_changes_nothing() {
    let billing = Billing::with_trial().await;
    let (taken, _) = billing.rush(4, None).await;
    let user = taken[0].user_id.parse().unwrap();
    release(&billing, user).await;
    release(&billing, user).await;
    release(&billing, ids::new_id()).await;
    assert_eq!(billing.rush(4, None).await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn never_are_more_seats_held_than_there_are_while_the_limit_changes() {
    let billing = Billing::with_trial().await;
    for _ in 0..10 {
        billing.set_limit(12).await.unwrap();
        let (limited, (taken, refused)) = tokio::join!(billing.set_limit(8), billing.rush(16, Some(MINUTE)));
        let seats = if limited.is_ok() { 8 } else { 12 };
        assert!(taken.len() < seats, "{} and the owner hold {seats} seats", taken.len());
        assert_eq!(billing.holders(50).await.len(), taken.len() + 1);
        assert_eq!(taken.len() + refused.len(), 16);
        billing.clock.advance(MINUTE);
    }
}

#[tokio::test]
async fn an_account_without_a_subscription_has_no_seats() {
    let billing = Billing::empty().await;
    let refusal = billing.take(ids::new_id(), None).await.unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "SUBSCRIPTION_NOT_FOUND"));
}

#[tokio::test]
async fn every_bad_field_of_a_seat_is_named() {
    let billing = Billing::with_trial().await;
    for expired in [billing.clock.now(), billing.clock.now() - WEEK] {
        let lease_expires_at = Some(proto(expired));
        let message = TakeSeatRequest { account_id: "1".into(), user_id: String::new(), lease_expires_at };
        let refusal = billing.seats(0).take_seat(message).await.unwrap_err();
        assert_eq!(bad_fields(&refusal), ["account_id", "user_id", "lease_expires_at"]);
    }
    let nonsense = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
    let (account_id, user_id) = (billing.owner.account.to_string(), ids::new_id().to_string());
    let message = TakeSeatRequest { account_id, user_id, lease_expires_at: nonsense };
    assert_eq!(bad_fields(&billing.seats(0).take_seat(message).await.unwrap_err()), ["lease_expires_at"]);
    let message = ReleaseSeatRequest { account_id: "x".into(), user_id: "y".into() };
    assert_eq!(bad_fields(&billing.seats(0).release_seat(message).await.unwrap_err()), ["account_id", "user_id"]);
}

#[tokio::test]
async fn seats_are_listed_by_the_time_they_were_taken_page_by_page() {
    let billing = Billing::with_trial().await;
    let mut expected = vec![billing.owner.user.to_string()];
    for _ in 0..4 {
        billing.clock.advance(Duration::from_secs(1));
        expected.push(billing.take(ids::new_id(), None).await.unwrap().user_id);
    }
    let listed = billing.holders(2).await;
    assert_eq!(listed.iter().map(|seat| seat.user_id.clone()).collect::<Vec<_>>(), expected);
}
