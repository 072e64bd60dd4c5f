//! Opening an account.

use std::{collections::BTreeSet, time::Duration};

use diwan_proto::{
    access::v1::Role,
    identity::v1::{GetAccountRequest, SignUpRequest},
};
use diwan_runtime::MockClock;
use diwan_testkit::eventually;
use futures::future::join_all;
use jiff::Timestamp;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::house::{House, LIMIT, refusal, refused, sign_up_request};

#[tokio::test]
async fn a_new_owner_signs_in_and_his_token_says_who_he_is() {
    let house = House::new().await;
    let made = house.accounts().sign_up(sign_up_request("Mona@Example.com")).await.unwrap().into_inner();
    let (account, owner) = (made.account.unwrap(), made.owner.unwrap());
    assert_eq!((account.time_zone.as_str(), account.language.as_str()), ("Africa/Cairo", "ar"));
    assert_eq!((owner.role(), owner.account_id.as_str()), (Role::Owner, account.id.as_str()));
    {
        let told = house.others.told();
        assert_eq!(told.trials.get(&account.id), Some(&owner.id), "the trial has begun when sign-up answers");
        assert!(told.members.iter().any(|(_, user)| *user == owner.id), "and the fallback team is there");
    }
    // Another spelling of the address is the same address.
    let member = house.member("mona@example.COM").await;
    assert_eq!(member.user, owner);
    let found = house.accounts().get_account(member.says(GetAccountRequest {})).await.unwrap().into_inner();
    assert_eq!(found.account.unwrap(), account);
}

#[tokio::test]
async fn of_sixteen_sign_ups_with_one_address_one_succeeds() {
    let house = House::new().await;
    let answers = join_all((0..16).map(|_| {
        let mut accounts = house.accounts();
        tokio::spawn(async move { accounts.sign_up(sign_up_request("mona@example.com")).await })
    }))
    .await;
    let (made, others): (Vec<_>, Vec<_>) = answers.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for other in others {
        assert_eq!(refusal(other), refused(Code::AlreadyExists, "EMAIL_TAKEN"));
    }
    assert_eq!((house.count("accounts").await, house.count("users").await), (1, 1));
}

#[tokio::test]
async fn a_repeated_sign_up_gets_the_first_answer_and_a_changed_one_is_refused() {
    let house = House::new().await;
    let request = sign_up_request("mona@example.com");
    let tries = join_all((0..8).map(|_| {
        let (mut accounts, request) = (house.accounts(), request.clone());
        tokio::spawn(async move { accounts.sign_up(request).await.unwrap().into_inner() })
    }))
    .await;
    let ids: BTreeSet<_> = tries.into_iter().map(|answer| answer.unwrap().account.unwrap().id).collect();
    assert_eq!((ids.len(), house.count("accounts").await), (1, 1));
    assert_eq!(house.others.told().trials.len(), 1);
    let changed = SignUpRequest { company: "Another".into(), ..request.clone() };
    let answer = house.accounts().sign_up(changed).await;
    assert_eq!(refusal(answer), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    // One stranger's request id is not another's.
    let stranger = SignUpRequest { email: "omar@example.com".into(), ..request };
    house.accounts().sign_up(stranger).await.unwrap();
    assert_eq!(house.count("accounts").await, 2);
}

#[tokio::test]
async fn every_bad_field_of_a_sign_up_is_named_at_once() {
    let house = House::new().await;
    let bad = SignUpRequest {
        request_id: "x".repeat(65),
        company: "  ".into(),
        time_zone: "Cairo".into(),
        language: "fr".into(),
        owner_name: "a\r\nBcc: x".into(),
        email: "nobody".into(),
        password: "short".into(),
    };
    let status = house.accounts().sign_up(bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let named: Vec<_> = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    let expected = ["request_id", "company", "time_zone", "language", "owner_name", "email", "password"];
    assert_eq!(BTreeSet::from_iter(named), BTreeSet::from_iter(expected.map(str::to_owned)));
}

#[tokio::test]
async fn an_account_is_provisioned_later_when_the_others_are_out_of_reach() {
    let house = House::new().await;
    house.others.fail(4);
    house.owner("mona@example.com").await;
    assert!(house.others.told().trials.is_empty(), "the first try has failed");
    eventually("the trial has begun", LIMIT, async || !house.others.told().trials.is_empty()).await;
    eventually("nothing is left to do", LIMIT, async || house.count("jobs").await == 0).await;
    assert_eq!(house.others.told().teams.len(), 1);
}

#[tokio::test]
async fn an_account_is_provisioned_later_when_its_handler_has_died() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(std::sync::Arc::new(clock.clone())).await;
    house.others.told().hanging = true;
    let mut accounts = house.accounts();
    let handler = tokio::spawn(async move { accounts.sign_up(sign_up_request("mona@example.com")).await });
    eventually("the account is committed", LIMIT, async || house.count("jobs").await == 1).await;
    handler.abort();
    assert!(handler.await.unwrap_err().is_cancelled());
    house.others.told().hanging = false;
    assert!(house.others.told().trials.is_empty());
    clock.advance(Duration::from_secs(61));
    eventually("the trial has begun", LIMIT, async || !house.others.told().trials.is_empty()).await;
    eventually("nothing is left to do", LIMIT, async || house.count("jobs").await == 0).await;
}
