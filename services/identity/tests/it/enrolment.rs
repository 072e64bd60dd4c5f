//! Setting up codes to a WhatsApp number within a sign-in, where the account demands a second factor.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        CompleteEnrolmentRequest, CompleteEnrolmentResponse, Factor, SendEnrolmentCodeRequest,
        SendEnrolmentCodeResponse, SignInChallenge,
    },
};
use diwan_runtime::MockClock;
use diwan_testkit::eventually;
use futures::future::join_all;
use tonic::{Code, Status};

use crate::{
    cloud_api::CloudApi,
    house::{House, LIMIT, Member, refusal, refused},
    second_factor::{challenge_refused, code_refused, totp, wrong},
    second_factor_policy::not_available,
    throttle::{clock, house_at},
    whatsapp::{NUMBER, code},
};

const OMAR: &str = "omar@example.com";
const OTHER_NUMBER: &str = "+201007654321";

impl House {
    async fn send_enrolment(
        &self,
        challenge: &SignInChallenge,
        number: &str,
    ) -> Result<SendEnrolmentCodeResponse, Status> {
        let request = SendEnrolmentCodeRequest { challenge_token: challenge.token.clone(), number: number.to_owned() };
        Ok(self.challenges().send_enrolment_code(request).await?.into_inner())
    }

    async fn complete_by_number(
        &self,
        challenge: &SignInChallenge,
        code: &str,
    ) -> Result<CompleteEnrolmentResponse, Status> {
        let request = CompleteEnrolmentRequest {
            challenge_token: challenge.token.clone(),
            code: code.to_owned(),
            trust_device: true,
            factor: Factor::Whatsapp.into(),
        };
        Ok(self.challenges().complete_enrolment(request).await?.into_inner())
    }
}

/// An account that demands a second factor, and a colleague who has none.
async fn demanding(api: &CloudApi, clock: &MockClock) -> (House, Member) {
    let house = house_at(clock, api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.colleague(&owner, OMAR, Role::User).await;
    house.enrol(&owner, clock).await;
    house.demand(&owner, true).await.unwrap();
    (house, omar)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_number_that_is_confirmed_within_the_sign_in_is_the_second_factor_from_then_on() {
    let (api, clock) = (CloudApi::start(&[]).await, clock());
    let (house, _) = demanding(&api, &clock).await;
    let (one, other) = (house.challenge(OMAR).await, house.challenge(OMAR).await);
    assert!(one.factors.is_empty() && !one.has_whatsapp_number);
    assert_eq!(refusal(house.complete_by_number(&one, "123456").await), not_available(), "none was sent");
    let one = house.challenge(OMAR).await;
    let nothing = house.send_enrolment(&one, "").await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument, "there is no number yet");
    let sent = house.send_enrolment(&one, "+20 100 123-4567").await.unwrap();
    assert_eq!(sent.expires_at, one.expires_at);
    let first = code(&api, 1).await;
    assert_eq!(api.received()[0].json["to"], NUMBER);
    assert_eq!(refusal(house.complete_by_number(&other, &first).await), not_available(), "it is another challenge's");
    assert_eq!(refusal(house.complete_by_number(&one, &wrong(&first)).await), code_refused());
    assert_eq!(
        refusal(house.answer(&one, (Factor::Whatsapp, first.clone())).await),
        code_refused(),
        "he has no factor"
    );
    assert_eq!(refusal(house.complete(&one, &first).await), not_available(), "it is no code of an authenticator");
    let one = house.challenge(OMAR).await;
    house.send_enrolment(&one, NUMBER).await.unwrap();
    let newer = code(&api, 2).await;
    let completed = join_all((0..32).map(|_| house.complete_by_number(&one, &newer))).await;
    let mut done: Vec<_> = completed.into_iter().filter_map(Result::ok).collect();
    assert_eq!(done.len(), 1, "one code, one session");
    let done = done.remove(0);
    assert_eq!(done.recovery_codes.len(), 10);
    assert!(house.is_trusted(&done.device_token, OMAR).await);
    let omar = Member { user: done.user.unwrap(), tokens: done.tokens.unwrap() };
    let factors = house.factors_of(&omar).await;
    assert_eq!(factors.factors, [i32::from(Factor::Whatsapp), i32::from(Factor::RecoveryCode)]);
    assert_eq!(refusal(house.send_enrolment(&one, NUMBER).await), challenge_refused());
    let next = house.challenge(OMAR).await;
    assert_eq!(refusal(house.send_enrolment(&next, NUMBER).await), not_available(), "he has a factor");
    let recovery = (Factor::RecoveryCode, done.recovery_codes[0].clone());
    house.answer(&next, recovery).await.unwrap();
    let told = async || house.mails(OMAR).into_iter().find(|(subject, _)| subject.contains("عامل التحقق"));
    eventually("the new number is told by e-mail", LIMIT, told).await;
}

#[tokio::test]
async fn who_has_confirmed_a_number_can_enrol_that_one_and_no_other() {
    let (api, clock) = (CloudApi::start(&[]).await, clock());
    let house = house_at(&clock, api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.colleague(&owner, OMAR, Role::User).await;
    house.gets_number(&omar, &api, NUMBER).await;
    house.enrol(&owner, &clock).await;
    house.demand(&owner, true).await.unwrap();
    let challenge = house.challenge(OMAR).await;
    assert!(challenge.has_whatsapp_number);
    let another = refused(Code::FailedPrecondition, "WHATSAPP_NUMBER_IS_ANOTHER");
    assert_eq!(refusal(house.send_enrolment(&challenge, OTHER_NUMBER).await), another);
    house.send_enrolment(&challenge, "").await.unwrap();
    let sent = code(&api, 2).await;
    house.complete_by_number(&challenge, &sent).await.unwrap();
    assert!(api.received().iter().all(|message| message.json["to"] == NUMBER), "nothing went elsewhere");
}

#[tokio::test]
async fn an_enrolment_code_is_good_for_five_tries_and_ten_minutes_and_is_not_sent_without_end() {
    let (api, clock) = (CloudApi::start(&[]).await, clock());
    let (house, _) = demanding(&api, &clock).await;
    let challenge = house.challenge(OMAR).await;
    house.send_enrolment(&challenge, NUMBER).await.unwrap();
    let tried = code(&api, 1).await;
    for _ in 0..5 {
        assert_eq!(refusal(house.complete_by_number(&challenge, &wrong(&tried)).await), code_refused());
    }
    assert_eq!(refusal(house.complete_by_number(&challenge, &tried).await), challenge_refused());
    let challenge = house.challenge(OMAR).await;
    house.send_enrolment(&challenge, NUMBER).await.unwrap();
    let late = code(&api, 2).await;
    clock.advance(Duration::from_mins(10));
    assert_eq!(refusal(house.complete_by_number(&challenge, &late).await), challenge_refused());
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    let challenge = house.challenge(OMAR).await;
    for _ in 0..10 {
        house.send_enrolment(&challenge, OTHER_NUMBER).await.unwrap();
    }
    assert_eq!(refusal(house.send_enrolment(&challenge, OTHER_NUMBER).await), throttled);
    assert_eq!(refusal(house.send_enrolment(&challenge, NUMBER).await), throttled, "the person is counted, too");
}

#[tokio::test]
async fn whoever_has_been_deactivated_meanwhile_enrols_nothing() {
    let (api, clock) = (CloudApi::start(&[]).await, clock());
    let (house, omar) = demanding(&api, &clock).await;
    let challenge = house.challenge(OMAR).await;
    house.send_enrolment(&challenge, NUMBER).await.unwrap();
    let sent = code(&api, 1).await;
    let other = house.challenge(OMAR).await;
    sqlx::query("update users set state = 'USER_STATE_DEACTIVATED' where id = $1::uuid")
        .bind(&omar.user.id)
        .execute(&house.database.pool)
        .await
        .unwrap();
    assert_eq!(refusal(house.complete_by_number(&challenge, &sent).await), challenge_refused());
    assert_eq!(refusal(house.send_enrolment(&other, NUMBER).await), challenge_refused());
    assert_eq!(refusal(house.answer(&other, totp("123456")).await), challenge_refused());
}
