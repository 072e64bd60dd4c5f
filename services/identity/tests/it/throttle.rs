//! Whoever guesses is slowed down.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use diwan_identity::Service;
use diwan_launch::Component as _;
use diwan_proto::identity::v1::{
    CloseAccountRequest, ResendEmailConfirmationRequest, SignInRequest, SignInResponse,
    closing_service_client::ClosingServiceClient, session_service_client::SessionServiceClient,
};
use diwan_runtime::{Env, MockClock, ids};
use diwan_transport::{CLIENT_ADDRESS, Network, Peer, Transport};
use futures::future::join_all;
use jiff::Timestamp;
use tempfile::TempDir;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::{
    credentials::NEW,
    house::{House, Member, PASSWORD, invite_request, refusal, refused, sign_up_request},
};

const WRONG: &str = "not her password";

/// `message` as it comes through the gateway from an IP address.
pub fn from<M>(address: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(CLIENT_ADDRESS, address.parse().unwrap());
    request
}

fn throttled() -> (Code, String) {
    refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS")
}

fn wrong() -> (Code, String) {
    refused(Code::Unauthenticated, "SIGN_IN_REFUSED")
}

pub async fn house_at(clock: &MockClock, env: Env) -> House {
    House::at_with(Arc::new(clock.clone()), env).await
}

pub fn clock() -> MockClock {
    MockClock::at(Timestamp::from_second(1_800_000_000).unwrap())
}

impl House {
    /// Another replica on the same database.
    async fn replica(&self, mail: &TempDir, env: Env) -> Transport {
        let env = env
            .with("DIWAN_IDENTITY_DATABASE_URL", &self.database.url)
            .with("DIWAN_IDENTITY_WHATSAPP_FOLDER", mail.path().join("whatsapp").to_str().unwrap())
            .with("DIWAN_IDENTITY_BLOBS", mail.path().join("blobs").to_str().unwrap())
            .with("DIWAN_IDENTITY_MAIL_FOLDER", mail.path().to_str().unwrap());
        let network = Network::local();
        let front = Service.start(self.world.context("identity", env)).await.unwrap();
        network.slot("identity").unwrap().fill(front);
        network.to("identity")
    }

    async fn sign_in_from(&self, address: &str, email: &str, password: &str) -> Result<SignInResponse, Status> {
        let request = SignInRequest { email: email.into(), password: password.into(), ..Default::default() };
        Ok(self.sessions().sign_in(from(address, request)).await?.into_inner())
    }
}

#[tokio::test]
async fn of_64_wrong_passwords_at_once_at_two_replicas_exactly_ten_are_looked_at() {
    let clock = clock();
    let env = Env::default().with("DIWAN_IDENTITY_PASSWORD_LINE", "64");
    let house = house_at(&clock, env.clone()).await;
    house.owner("mona@example.com").await;
    let mail = TempDir::new().unwrap();
    let doors = [house.world.to("identity"), house.replica(&mail, env).await];
    let answers = join_all((0..64).map(|index| {
        let mut sessions = SessionServiceClient::new(doors[index % 2].clone());
        let request = SignInRequest {
            email: "mona@example.com".into(),
            password: format!("{WRONG} {index}"),
            ..Default::default()
        };
        tokio::spawn(async move { sessions.sign_in(request).await })
    }))
    .await;
    let (mut looked_at, mut turned_away) = (0, 0);
    for status in answers.into_iter().map(|answer| answer.unwrap().unwrap_err()) {
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        match refusal::<()>(Err(status)) {
            answer if answer == wrong() => looked_at += 1,
            answer if answer == throttled() => {
                turned_away += 1;
                assert_eq!(delay, Some(Duration::from_secs(30)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((looked_at, turned_away), (10, 54));
    let counted: (i32, i32) = sqlx::query_as("select recent, in_a_row from failures where counter = 'SIGN_IN'")
        .fetch_one(&house.database.pool)
        .await
        .unwrap();
    assert_eq!(counted, (10, 10));
    assert_eq!(refusal(house.sign_in("mona@example.com", PASSWORD).await), throttled(), "nor is the right one");
    clock.advance(Duration::from_secs(30));
    house.member("mona@example.com").await;
    assert_eq!(house.count("failures").await, 0, "a success wipes them out");
}

#[tokio::test]
async fn an_address_that_nobody_has_is_slowed_down_like_any_other() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    house.owner("mona@example.com").await;
    let mut stories = Vec::new();
    for email in ["mona@example.com", "nobody@example.com"] {
        let mut story = Vec::new();
        for round in 0..12 {
            let status = house.sign_in(email, WRONG).await.unwrap_err();
            story.push((round, status.code(), status.message().to_owned(), status.details().to_vec()));
        }
        stories.push(story);
    }
    assert_eq!(stories[0][9].1, Code::Unauthenticated);
    assert_eq!(stories[0][10].1, Code::ResourceExhausted);
    assert_eq!(stories[0], stories[1]);
}

#[tokio::test]
async fn each_failure_after_the_tenth_makes_the_wait_longer() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    house.owner("mona@example.com").await;
    for _ in 0..10 {
        assert_eq!(refusal(house.sign_in("mona@example.com", WRONG).await), wrong());
    }
    for seconds in [30, 60, 120] {
        let status = house.sign_in("mona@example.com", WRONG).await.unwrap_err();
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(seconds)));
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(refusal(house.sign_in("mona@example.com", WRONG).await), wrong());
    }
}

#[tokio::test]
async fn failures_from_one_ip_address_count_together_and_no_success_wipes_them_out() {
    let env = Env::default().with("DIWAN_IDENTITY_FAILURES_PER_IP", "3");
    let house = house_at(&clock(), env).await;
    house.owner("mona@example.com").await;
    for email in ["a@example.com", "b@example.com"] {
        assert_eq!(refusal(house.sign_in_from("192.0.2.1", email, WRONG).await), wrong());
    }
    house.sign_in_from("192.0.2.1", "mona@example.com", PASSWORD).await.unwrap();
    assert_eq!(refusal(house.sign_in_from("192.0.2.1", "c@example.com", WRONG).await), wrong());
    assert_eq!(refusal(house.sign_in_from("192.0.2.1", "mona@example.com", PASSWORD).await), throttled());
    house.sign_in_from("192.0.2.2", "mona@example.com", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn who_calls_past_the_gateway_is_counted_by_his_connection() {
    let env = Env::default().with("DIWAN_IDENTITY_FAILURES_PER_IP", "3");
    let house = house_at(&clock(), env).await;
    house.owner("mona@example.com").await;
    let sign_in = async |peer: &str, email: &str, password: &str| {
        let mut request =
            Request::new(SignInRequest { email: email.into(), password: password.into(), ..Default::default() });
        request.extensions_mut().insert(Peer(SocketAddr::new(peer.parse().unwrap(), 4711)));
        house.sessions().sign_in(request).await
    };
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        assert_eq!(refusal(sign_in("192.0.2.1", email, WRONG).await), wrong());
    }
    assert_eq!(refusal(sign_in("::ffff:192.0.2.1", "d@example.com", WRONG).await), throttled(), "at another address");
    sign_in("192.0.2.2", "mona@example.com", PASSWORD).await.unwrap();
}

impl House {
    /// Gives a password for something grave.
    async fn close_from(&self, address: &str, member: &Member, password: &str) -> Result<(), Status> {
        let mut request =
            from(address, CloseAccountRequest { request_id: ids::new_id().to_string(), password: password.into() });
        let token = format!("Bearer {}", member.tokens.access_token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        ClosingServiceClient::new(self.world.to("identity")).close_account(request).await.map(drop)
    }
}

#[tokio::test]
async fn who_has_stolen_many_sessions_guesses_passwords_with_all_of_them_as_slowly_as_with_one() {
    let env = Env::default().with("DIWAN_IDENTITY_FAILURES_PER_IP", "3");
    let house = house_at(&clock(), env).await;
    let mut owners = Vec::new();
    for email in ["a@example.com", "b@example.com", "c@example.com", "d@example.com"] {
        owners.push(house.owner(email).await);
    }
    for owner in &owners[..3] {
        let answer = refusal(house.close_from("192.0.2.1", owner, WRONG).await);
        assert_eq!(answer, refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    }
    assert_eq!(refusal(house.close_from("192.0.2.1", &owners[3], PASSWORD).await), throttled());
    house.close_from("192.0.2.2", &owners[3], PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_hundred_wrong_passwords_of_somebody_who_is_signed_in_need_a_new_one() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    sqlx::query(
        "insert into failures (counter, key, recent, window_began, in_a_row, closed_until)
         values ('PASSWORD_CHANGE', sha256(uuid_send($1::uuid)), 1, to_timestamp(0), 99, to_timestamp(0))",
    )
    .bind(&owner.user.id)
    .execute(&house.database.pool)
    .await
    .unwrap();
    let answer = refusal(house.close_from("192.0.2.1", &owner, WRONG).await);
    assert_eq!(answer, refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    let answer = refusal(house.close_from("192.0.2.1", &owner, PASSWORD).await);
    assert_eq!(answer, refused(Code::FailedPrecondition, "PASSWORD_RESET_NEEDED"));
    house.ask_for_reset("mona@example.com").await.unwrap();
    house.reset(&house.reset_tokens("mona@example.com", 1).await[0]).await.unwrap();
    let signed_in = house.sign_in("mona@example.com", NEW).await.unwrap();
    let owner = Member { user: signed_in.user.unwrap(), tokens: signed_in.tokens.unwrap() };
    house.close_from("192.0.2.1", &owner, NEW).await.unwrap();
}

#[tokio::test]
async fn who_asks_for_many_addresses_is_no_longer_told_which_are_taken() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let ask = async |address: &str| {
        refusal(house.accounts().sign_up(from(address, sign_up_request("mona@example.com"))).await)
    };
    let taken = refused(Code::AlreadyExists, "EMAIL_TAKEN");
    for _ in 0..10 {
        assert_eq!(ask("192.0.2.1").await, taken);
    }
    assert_eq!(ask("192.0.2.1").await, throttled());
    assert_eq!(ask("192.0.2.2").await, taken);
    let team = house.others.add_team(&owner.user.account_id);
    let invite =
        async || refusal(house.users().invite_user(owner.says(invite_request("mona@example.com", &team))).await);
    for _ in 0..10 {
        assert_eq!(invite().await, taken);
    }
    assert_eq!(invite().await, throttled());
}

#[tokio::test]
async fn nor_is_who_corrects_an_invitation_or_brings_one_back() {
    let house = house_at(&clock(), Env::default()).await;
    let (owner, other) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    let withdrawn = house.invite(&owner, "omar@example.com").await.unwrap();
    house.withdraw(&owner, &withdrawn.id).await.unwrap();
    house.invite(&other, "omar@example.com").await.unwrap();
    let invited = house.invite(&owner, "zaid@example.com").await.unwrap();
    let taken = refused(Code::AlreadyExists, "EMAIL_TAKEN");
    for _ in 0..5 {
        assert_eq!(refusal(house.correct(&owner, &invited.id, "other@example.com").await), taken);
        assert_eq!(refusal(house.reactivate(&owner, &withdrawn.id).await), taken);
    }
    assert_eq!(refusal(house.correct(&owner, &invited.id, "other@example.com").await), throttled());
    assert_eq!(refusal(house.reactivate(&owner, &withdrawn.id).await), throttled());
    let team = house.others.add_team(&owner.user.account_id);
    let invite = house.users().invite_user(owner.says(invite_request("free@example.com", &team))).await;
    assert_eq!(refusal(invite), throttled());
}

#[tokio::test]
async fn nobody_is_sent_invitations_without_end() {
    let house = house_at(&clock(), Env::default()).await;
    let (owner, other) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    for _ in 0..3 {
        let user = house.invite(&owner, "omar@example.com").await.unwrap();
        house.resend(&owner, &user.id).await.unwrap();
        house.correct(&owner, &user.id, "Omar@example.com").await.unwrap();
        house.withdraw(&owner, &user.id).await.unwrap();
    }
    let user = house.invite(&other, "omar@example.com").await.unwrap();
    assert_eq!(refusal(house.resend(&other, &user.id).await), throttled());
    let sent = house.count("jobs where payload ->> 'kind' = 'SendInvitation'").await;
    assert!(sent <= 10, "the refused one sends nothing");
    house.invite(&other, "zaid@example.com").await.unwrap();
}

#[tokio::test]
async fn nor_links_that_confirm_an_address() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let resend = async || {
        let request = ResendEmailConfirmationRequest { request_id: ids::new_id().to_string() };
        house.accounts().resend_email_confirmation(owner.says(request)).await
    };
    for _ in 0..10 {
        resend().await.unwrap();
    }
    assert_eq!(refusal(resend().await), throttled());
}
