//! Inviting a person, and his acceptance.

use std::{collections::BTreeSet, time::Duration};

use diwan_proto::{
    access::v1::{Grant, Role},
    identity::v1::{AcceptInvitationRequest, InviteUserRequest, ReactivateUserRequest, UserState},
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;
use futures::future::join_all;
use jiff::Timestamp;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::house::{House, LIMIT, PASSWORD, invite_request, refusal, refused, token_in};

#[tokio::test]
async fn an_invited_person_accepts_and_comes_in() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let request = InviteUserRequest {
        language: "es".into(),
        grants: vec![Grant::Campaigns.into()],
        ..invite_request("omar@example.com", &team)
    };
    let invited = house.users().invite_user(owner.says(request)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((invited.state(), invited.language.as_str()), (UserState::Invited, "es"));
    assert_eq!(house.others.told().seats.get(&invited.id), Some(&true), "his seat is leased");
    assert_eq!(
        refusal(house.sign_in("omar@example.com", PASSWORD).await),
        refused(Code::Unauthenticated, "SIGN_IN_REFUSED")
    );
    let token = house.invitation_token("omar@example.com").await;
    let (subject, _) = house.mails("omar@example.com").pop().unwrap();
    assert_eq!(subject, "شركة النور le invita a Diwan");
    let user = house.accept(&token).await.unwrap();
    assert_eq!((user.id.as_str(), user.state(), user.version), (invited.id.as_str(), UserState::Active, 2));
    {
        let told = house.others.told();
        assert_eq!(told.seats.get(&user.id), Some(&false), "his seat is his when acceptance answers");
        assert!(told.members.contains(&(team, user.id.clone())), "and he is a member of his team");
    }
    let member = house.member("omar@example.com").await;
    assert_eq!(member.user.grants, [i32::from(Grant::Campaigns)]);
    assert_eq!(refusal(house.accept(&token).await), refused(Code::NotFound, "INVITATION_NOT_FOUND"));
}

#[tokio::test]
async fn a_repeated_invitation_is_one_user_one_seat_and_one_mail() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let request = invite_request("omar@example.com", &team);
    let tries = join_all((0..8).map(|_| {
        let (mut users, request) = (house.users(), owner.says(request.clone()));
        tokio::spawn(async move { users.invite_user(request).await.unwrap().into_inner().user.unwrap().id })
    }))
    .await;
    let ids: BTreeSet<_> = tries.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    eventually("nothing is left to do", LIMIT, async || house.count("jobs").await == 0).await;
    let seats: BTreeSet<_> = house.others.told().seats.keys().cloned().collect();
    assert_eq!(seats, &ids | &BTreeSet::from([owner.user.id.clone()]));
    assert_eq!((house.mails("omar@example.com").len(), house.count("users").await), (1, 2));
}

#[tokio::test]
async fn a_request_id_whose_answer_is_forgotten_harms_nobody() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let request = invite_request("omar@example.com", &team);
    let user = house.users().invite_user(owner.says(request.clone())).await.unwrap().into_inner().user.unwrap();
    house.accept(&house.invitation_token("omar@example.com").await).await.unwrap();
    sqlx::query("delete from answers").execute(&house.database.pool).await.unwrap();
    let other = InviteUserRequest { email: "other@example.com".into(), ..request };
    let again = house.users().invite_user(owner.says(other)).await;
    assert_eq!(refusal(again), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(house.others.told().seats.get(&user.id), Some(&false), "the seat that the first one keeps");
    assert_eq!(house.count("email_addresses").await, 2);
}

#[tokio::test]
async fn of_thirty_two_acceptances_of_one_invitation_one_succeeds() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    house.users().invite_user(owner.says(invite_request("omar@example.com", &team))).await.unwrap();
    let token = house.invitation_token("omar@example.com").await;
    let passwords: Vec<String> = (0..32).map(|number| format!("password of try {number}")).collect();
    let answers = join_all(passwords.iter().map(|password| {
        let mut users = house.users();
        let request = AcceptInvitationRequest { token: token.clone(), password: password.clone() };
        tokio::spawn(async move { users.accept_invitation(request).await })
    }))
    .await;
    let mut winners = Vec::new();
    for (answer, password) in answers.into_iter().map(Result::unwrap).zip(&passwords) {
        match answer {
            Ok(_) => winners.push(password),
            refusal => assert_eq!(self::refusal(refusal), refused(Code::NotFound, "INVITATION_NOT_FOUND")),
        }
    }
    assert_eq!(winners.len(), 1);
    house.sign_in("omar@example.com", winners[0]).await.unwrap();
}

#[tokio::test]
async fn an_invitation_that_fails_leaves_no_seat_taken() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let other = house.owner("other@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let foreign = house.others.add_team(&other.user.account_id);
    let invite = async |email: &str, team: &str| {
        house.users().invite_user(owner.says(invite_request(email, team))).await.map(|_| ())
    };
    assert_eq!(
        refusal(invite("other@example.com", &team).await),
        refused(Code::AlreadyExists, "EMAIL_TAKEN"),
        "an address of another account"
    );
    let status = invite("omar@example.com", &foreign).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().metadata["team_ids"], foreign);
    assert_eq!(refusal::<()>(Err(status)), refused(Code::NotFound, "TEAM_NOT_FOUND"));
    assert_eq!(house.others.told().seats.len(), 2, "the two owners'");
    house.others.told().limit = 2;
    let status = invite("omar@example.com", &team).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().metadata["seats"], "2");
    assert_eq!(refusal::<()>(Err(status)), refused(Code::ResourceExhausted, "NO_SEAT_LEFT"));
    assert_eq!((house.count("users").await, house.count("email_addresses").await), (2, 2));
    eventually("nothing is left to do", LIMIT, async || house.count("jobs").await == 0).await;
}

#[tokio::test]
async fn a_seat_that_could_not_be_freed_at_once_is_freed_later() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let colleague = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.others.fail(2);
    house.deactivate(&owner, &colleague.user.id).await.unwrap();
    assert!(house.others.told().seats.contains_key(&colleague.user.id));
    eventually("his seat is free", LIMIT, async || !house.others.told().seats.contains_key(&colleague.user.id)).await;
}

#[tokio::test]
async fn an_expired_invitation_lets_nobody_in_and_a_renewed_one_does() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(std::sync::Arc::new(clock.clone())).await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let request = owner.says(invite_request("omar@example.com", &team));
    let user = house.users().invite_user(request).await.unwrap().into_inner().user.unwrap();
    let first = house.invitation_token("omar@example.com").await;
    clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(refusal(house.accept(&first).await), refused(Code::NotFound, "INVITATION_NOT_FOUND"));
    // Deactivating withdraws it; reactivating who never accepted sends a new one.
    let owner = house.member("mona@example.com").await;
    house.deactivate(&owner, &user.id).await.unwrap();
    assert!(!house.others.told().seats.contains_key(&user.id));
    let again = ReactivateUserRequest { request_id: ids::new_id().to_string(), user_id: user.id.clone() };
    let renewed = house.users().reactivate_user(owner.says(again)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(renewed.state(), UserState::Invited);
    let mails = eventually("a second e-mail", LIMIT, async || {
        Some(house.mails("omar@example.com")).filter(|mails| mails.len() == 2)
    })
    .await;
    let second = mails.iter().map(|(_, text)| token_in(text)).find(|token| *token != first).unwrap();
    assert_eq!(refusal(house.accept(&first).await), refused(Code::NotFound, "INVITATION_NOT_FOUND"));
    assert_eq!(house.accept(&second).await.unwrap().id, user.id);
}

#[tokio::test]
async fn every_bad_field_of_an_invitation_is_named_at_once() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let bad = InviteUserRequest {
        request_id: String::new(),
        name: String::new(),
        email: "a@b@example.com".into(),
        role: Role::Owner.into(),
        grants: vec![Grant::Campaigns.into(), 0, 77],
        team_ids: vec![ids::new_id().to_string(), "sales".into()],
        language: "english".into(),
        phone: "01001234567".into(),
    };
    let status = house.users().invite_user(owner.says(bad)).await.unwrap_err();
    let named: BTreeSet<_> = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    let expected =
        ["request_id", "name", "email", "role", "grants[1]", "grants[2]", "team_ids[1]", "language", "phone"];
    assert_eq!(named, BTreeSet::from(expected.map(str::to_owned)));
    let bare = InviteUserRequest { team_ids: vec![], ..invite_request("omar@example.com", "") };
    let status = house.users().invite_user(owner.says(bare)).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "team_ids");
}

#[tokio::test]
async fn an_invitation_that_is_under_way_when_the_account_ends_holds_neither_address_nor_seat() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let request = invite_request("omar@example.com", &team);
    house.others.told().hanging = true;
    let mut users = house.users();
    let invite = tokio::spawn(async move { users.invite_user(owner.says(request)).await.map(drop) });
    let ended =
        "update accounts set state = 'ACCOUNT_STATE_CLOSED', closes_at = null, delete_at = now() + interval '30 days'";
    sqlx::query(ended).execute(&house.database.pool).await.unwrap();
    house.others.told().hanging = false;
    assert_eq!(refusal(invite.await.unwrap()), refused(Code::Unauthenticated, "SIGN_IN_REFUSED"));
    assert_eq!(house.count("email_addresses where email_key = 'omar@example.com'").await, 0);
    let invited = "users where email = 'omar@example.com'";
    assert_eq!(house.count(invited).await, 0);
    let freed = async || house.others.told().seats.values().all(|leased| !leased).then_some(());
    eventually("his seat is free", LIMIT, freed).await;
}
