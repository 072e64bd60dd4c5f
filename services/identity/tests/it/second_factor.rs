//! A second factor: set up, asked for at sign-in, used once, taken away.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AnswerChallengeRequest, AnswerChallengeResponse, BeginTotpRequest, ConfirmTotpRequest, ConfirmTotpResponse,
        DisableTotpRequest, Factor, GetSecondFactorsRequest, RegenerateRecoveryCodesRequest, SecondFactors,
        SignInChallenge, TotpSecret, challenge_service_client::ChallengeServiceClient,
        second_factor_service_client::SecondFactorServiceClient,
    },
};
use diwan_runtime::{Clock as _, Env, MockClock, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use futures::future::join_all;
use tonic::{Code, Status};
use totp_rs::Totp;

use crate::{
    credentials::NEW,
    house::{House, LIMIT, Member, PASSWORD, refusal, refused},
    throttle::{clock, from, house_at},
};

pub const STEP: Duration = Duration::from_secs(30);

/// The app on a person's telephone.
pub struct Authenticator(Totp);

impl Authenticator {
    pub fn scanning(secret: &TotpSecret) -> Self {
        Self(Totp::from_url(&secret.uri).unwrap())
    }

    pub fn code(&self, clock: &MockClock) -> String {
        self.0.generate(clock.now().as_second().try_into().unwrap()).to_string()
    }
}

/// A code that is none of now.
pub fn wrong(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 500_000) % 1_000_000)
}

pub fn totp(code: &str) -> (Factor, String) {
    (Factor::Totp, code.to_owned())
}

pub fn code_refused() -> (Code, String) {
    refused(Code::Unauthenticated, "CODE_REFUSED")
}

pub fn challenge_refused() -> (Code, String) {
    refused(Code::Unauthenticated, "CHALLENGE_REFUSED")
}

impl House {
    pub fn factors(&self) -> SecondFactorServiceClient<Transport> {
        SecondFactorServiceClient::new(self.world.to("identity"))
    }

    pub fn challenges(&self) -> ChallengeServiceClient<Transport> {
        ChallengeServiceClient::new(self.world.to("identity"))
    }

    pub async fn begin_totp(&self, member: &Member) -> TotpSecret {
        let request = BeginTotpRequest { password: PASSWORD.into(), ..BeginTotpRequest::default() };
        self.factors().begin_totp(member.says(request)).await.unwrap().into_inner().totp.unwrap()
    }

    pub async fn confirm_totp(&self, member: &Member, code: &str) -> Result<ConfirmTotpResponse, Status> {
        let request = ConfirmTotpRequest { code: code.into() };
        Ok(self.factors().confirm_totp(member.says(request)).await?.into_inner())
    }

    /// Gives a member an authenticator, and waits until its next code. Also returns the recovery codes.
    pub async fn enrol(&self, member: &Member, clock: &MockClock) -> (Authenticator, Vec<String>) {
        let app = Authenticator::scanning(&self.begin_totp(member).await);
        let confirmed = self.confirm_totp(member, &app.code(clock)).await.unwrap();
        clock.advance(STEP);
        (app, confirmed.recovery_codes)
    }

    pub async fn factors_of(&self, member: &Member) -> SecondFactors {
        let request = member.says(GetSecondFactorsRequest {});
        self.factors().get_second_factors(request).await.unwrap().into_inner().second_factors.unwrap()
    }

    pub async fn challenge(&self, email: &str) -> SignInChallenge {
        let answer = self.sign_in(email, PASSWORD).await.unwrap();
        assert!(answer.tokens.is_none() && answer.user.is_none(), "nothing but the challenge");
        answer.challenge.unwrap()
    }

    pub async fn answer(
        &self,
        challenge: &SignInChallenge,
        (factor, code): (Factor, String),
    ) -> Result<AnswerChallengeResponse, Status> {
        let request = answer_request(challenge, (factor, code));
        Ok(self.challenges().answer_challenge(request).await?.into_inner())
    }

    /// How many of these answers were right.
    async fn right(&self, answers: Vec<(SignInChallenge, (Factor, String))>) -> usize {
        let answers = answers.iter().map(|(challenge, code)| self.answer(challenge, code.clone()));
        join_all(answers).await.iter().filter(|answer| answer.is_ok()).count()
    }

    async fn challenges_of(&self, email: &str, count: usize) -> Vec<SignInChallenge> {
        let mut challenges = Vec::new();
        for _ in 0..count {
            challenges.push(self.challenge(email).await);
        }
        challenges
    }
}

pub fn answer_request(challenge: &SignInChallenge, (factor, code): (Factor, String)) -> AnswerChallengeRequest {
    AnswerChallengeRequest {
        challenge_token: challenge.token.clone(),
        factor: factor.into(),
        code,
        trust_device: false,
    }
}

fn disable_request(code: &str) -> DisableTotpRequest {
    DisableTotpRequest { request_id: ids::new_id().to_string(), code: code.into(), ..DisableTotpRequest::default() }
}

#[tokio::test]
async fn an_authenticator_counts_from_its_confirmation_on_and_is_then_asked_for_after_the_password() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let wrong_password = BeginTotpRequest { password: "not hers".into(), ..BeginTotpRequest::default() };
    let answer = house.factors().begin_totp(owner.says(wrong_password)).await;
    assert_eq!(refusal(answer), refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    let answer = house.factors().begin_totp(owner.says(BeginTotpRequest::default())).await;
    assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
    let (replaced, secret) = (house.begin_totp(&owner).await, house.begin_totp(&owner).await);
    assert!(secret.uri.starts_with("otpauth://totp/Diwan:mona%40example.com?"), "{}", secret.uri);
    assert!(secret.uri.contains(&secret.secret) && secret.qr_svg.contains("<svg"));
    let app = Authenticator::scanning(&secret);
    let old_code = Authenticator::scanning(&replaced).code(&clock);
    for bad in [old_code, wrong(&app.code(&clock)), "nonsense".into()] {
        let answer = house.confirm_totp(&owner, &bad).await;
        assert_eq!(refusal(answer), refused(Code::PermissionDenied, "CODE_REFUSED"), "{bad}");
    }
    assert!(house.factors_of(&owner).await.factors.is_empty());
    house.member("mona@example.com").await;
    let code = app.code(&clock);
    let confirmed = house.confirm_totp(&owner, &code).await.unwrap();
    assert_eq!(confirmed.recovery_codes.len(), 10);
    assert_eq!(house.factors_of(&owner).await, confirmed.second_factors.unwrap());
    let answer = house.confirm_totp(&owner, &code).await;
    assert_eq!(refusal(answer), refused(Code::NotFound, "ENROLMENT_NOT_FOUND"));
    let challenge = house.challenge("mona@example.com").await;
    assert_eq!(challenge.factors, [i32::from(Factor::Totp), i32::from(Factor::RecoveryCode)]);
    assert_eq!(refusal(house.answer(&challenge, totp(&code)).await), code_refused(), "it was used to confirm");
    clock.advance(STEP);
    let arabic: String =
        app.code(&clock).bytes().map(|digit| char::from_u32(0x660 + u32::from(digit - b'0')).unwrap()).collect();
    let answer = house.answer(&challenge, totp(&arabic)).await.unwrap();
    assert_eq!(answer.user.unwrap().id, owner.user.id);
    let member = Member { user: owner.user, tokens: answer.tokens.unwrap() };
    assert_eq!(house.factors_of(&member).await.recovery_codes_left, 10, "the tokens are good");
    assert_eq!(refusal(house.answer(&challenge, totp(&app.code(&clock))).await), challenge_refused(), "once");
}

#[tokio::test]
async fn an_enrolment_that_is_not_confirmed_in_a_quarter_of_an_hour_is_gone() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let app = Authenticator::scanning(&house.begin_totp(&owner).await);
    clock.advance(Duration::from_mins(15));
    let owner = house.member("mona@example.com").await;
    let answer = house.confirm_totp(&owner, &app.code(&clock)).await;
    assert_eq!(refusal(answer), refused(Code::NotFound, "ENROLMENT_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_answers_at_once_with_one_code_one_signs_in() {
    let clock = clock();
    let env = Env::default().with("DIWAN_IDENTITY_FAILURES_PER_ADDRESS", "1000");
    let house = house_at(&clock, env).await;
    let owner = house.owner("mona@example.com").await;
    let (app, recovery) = house.enrol(&owner, &clock).await;
    let challenges = house.challenges_of("mona@example.com", 64).await;
    let code = totp(&app.code(&clock));
    let answers = challenges.iter().map(|challenge| (challenge.clone(), code.clone())).collect();
    assert_eq!(house.right(answers).await, 1, "one code of an authenticator for 64 sign-ins");
    let code = (Factor::RecoveryCode, recovery[0].clone());
    let answers = challenges.iter().map(|challenge| (challenge.clone(), code.clone())).collect();
    assert_eq!(house.right(answers).await, 1, "one recovery code for 64 sign-ins");
    clock.advance(STEP);
    let challenge = house.challenge("mona@example.com").await;
    let mut answers: Vec<_> = (0..32).map(|_| (challenge.clone(), totp(&app.code(&clock)))).collect();
    answers.extend((1..9).flat_map(|index| {
        let code = (Factor::RecoveryCode, recovery[index].clone());
        (0..4).map(|_| (challenge.clone(), code.clone())).collect::<Vec<_>>()
    }));
    assert_eq!(house.right(answers).await, 1, "one challenge, whatever answers it");
}

#[tokio::test]
async fn a_challenge_is_good_for_five_codes_for_ten_minutes_and_with_its_whole_token() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let challenge = house.challenge("mona@example.com").await;
    for _ in 0..5 {
        let answer = house.answer(&challenge, totp(&wrong(&app.code(&clock)))).await;
        assert_eq!(refusal(answer), code_refused());
    }
    assert_eq!(refusal(house.answer(&challenge, totp(&app.code(&clock))).await), challenge_refused());
    let challenge = house.challenge("mona@example.com").await;
    let (half, other) = (&challenge.token[..43], house.challenge("mona@example.com").await);
    for token in ["nonsense".to_owned(), format!("{half}{}", &other.token[43..])] {
        let forged = SignInChallenge { token, ..challenge.clone() };
        assert_eq!(refusal(house.answer(&forged, totp(&app.code(&clock))).await), challenge_refused());
    }
    clock.advance(Duration::from_mins(10));
    assert_eq!(refusal(house.answer(&challenge, totp(&app.code(&clock))).await), challenge_refused());
}

#[tokio::test]
async fn wrong_codes_are_counted_apart_from_passwords_whatever_the_sign_in() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let challenges = house.challenges_of("mona@example.com", 3).await;
    for index in 0..10 {
        let answer = house.answer(&challenges[index / 5], totp(&wrong(&app.code(&clock)))).await;
        assert_eq!(refusal(answer), code_refused(), "try {index}");
    }
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    assert_eq!(refusal(house.answer(&challenges[2], totp(&app.code(&clock))).await), throttled);
    let by_code = disable_request(&app.code(&clock));
    assert_eq!(refusal(house.factors().disable_totp(owner.says(by_code)).await), throttled, "the same counter");
    house.challenge("mona@example.com").await;
    clock.advance(STEP);
    house.answer(&challenges[2], totp(&app.code(&clock))).await.unwrap();
}

#[tokio::test]
async fn a_hundred_wrong_codes_need_a_new_password() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    sqlx::query(
        "insert into failures (counter, key, recent, window_began, in_a_row, closed_until)
         values ('CODE', sha256(uuid_send($1::uuid)), 1, now(), 100, to_timestamp(0))",
    )
    .bind(&owner.user.id)
    .execute(&house.database.pool)
    .await
    .unwrap();
    let challenge = house.challenge("mona@example.com").await;
    let answer = house.answer(&challenge, totp(&app.code(&clock))).await;
    assert_eq!(refusal(answer), refused(Code::FailedPrecondition, "PASSWORD_RESET_NEEDED"));
}

#[tokio::test]
async fn a_new_password_opens_the_codes_again_and_leaves_them_as_slow_as_they_were() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let wait = clock.now() + Duration::from_secs(30);
    sqlx::query(
        "insert into failures (counter, key, recent, window_began, in_a_row, closed_until)
         values ('CODE', sha256(uuid_send($1::uuid)), 10, to_timestamp($2), 100, to_timestamp($2))",
    )
    .bind(&owner.user.id)
    .bind(f64::from(i32::try_from(wait.as_second()).unwrap()))
    .execute(&house.database.pool)
    .await
    .unwrap();
    house.ask_for_reset("mona@example.com").await.unwrap();
    house.reset(&house.reset_tokens("mona@example.com", 1).await[0]).await.unwrap();
    let challenge = house.sign_in("mona@example.com", NEW).await.unwrap().challenge.unwrap();
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    assert_eq!(refusal(house.answer(&challenge, totp(&app.code(&clock))).await), throttled);
    clock.advance(STEP);
    house.answer(&challenge, totp(&app.code(&clock))).await.unwrap();
}

#[tokio::test]
async fn a_recovery_code_is_good_once_and_until_there_are_new_ones() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, codes) = house.enrol(&owner, &clock).await;
    let recovery = |code: &str| (Factor::RecoveryCode, code.to_owned());
    let challenge = house.challenge("mona@example.com").await;
    let sloppy = codes[0].to_uppercase().replace('-', " ");
    assert_eq!(house.answer(&challenge, recovery(&sloppy)).await.unwrap().recovery_codes_left, 9);
    let challenge = house.challenge("mona@example.com").await;
    assert_eq!(refusal(house.answer(&challenge, recovery(&codes[0])).await), code_refused());
    let as_totp = house.answer(&challenge, totp(&codes[1])).await;
    assert_eq!(refusal(as_totp), code_refused(), "a code is of one factor");
    let request = RegenerateRecoveryCodesRequest { code: app.code(&clock), ..Default::default() };
    let new = house.factors().regenerate_recovery_codes(owner.says(request.clone())).await.unwrap().into_inner();
    assert_eq!(new.recovery_codes.len(), 10);
    let again = house.factors().regenerate_recovery_codes(owner.says(request)).await;
    assert_eq!(refusal(again), refused(Code::PermissionDenied, "CODE_REFUSED"), "the proof was used up");
    assert_eq!(refusal(house.answer(&challenge, recovery(&codes[1])).await), challenge_refused(), "it ended with them");
    let challenge = house.challenge("mona@example.com").await;
    assert_eq!(refusal(house.answer(&challenge, recovery(&codes[1])).await), code_refused());
    house.answer(&challenge, recovery(&new.recovery_codes[9])).await.unwrap();
}

#[tokio::test]
async fn without_the_authenticator_nothing_is_asked_and_nothing_is_left() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let bare = DisableTotpRequest { request_id: ids::new_id().to_string(), ..DisableTotpRequest::default() };
    assert_eq!(house.factors().disable_totp(owner.says(bare)).await.unwrap_err().code(), Code::InvalidArgument);
    let request = disable_request(&app.code(&clock));
    let first = house.factors().disable_totp(owner.says(request.clone())).await.unwrap().into_inner();
    assert!(first.second_factors.as_ref().unwrap().factors.is_empty());
    let again = house.factors().disable_totp(owner.says(request)).await.unwrap().into_inner();
    assert_eq!(again, first, "a retry gets the first answer, though its code was used");
    assert_eq!(house.count("recovery_codes").await, 0);
    house.member("mona@example.com").await;
    let request = RegenerateRecoveryCodesRequest { password: PASSWORD.into(), ..Default::default() };
    let answer = house.factors().regenerate_recovery_codes(owner.says(request)).await;
    assert_eq!(refusal(answer), refused(Code::FailedPrecondition, "SECOND_FACTOR_MISSING"));
}

#[tokio::test]
async fn a_new_authenticator_takes_the_place_of_the_old_one_and_recovery_codes_stay() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (old, codes) = house.enrol(&owner, &clock).await;
    let (new, none) = house.enrol(&owner, &clock).await;
    assert!(none.is_empty());
    let challenge = house.challenge("mona@example.com").await;
    assert_eq!(refusal(house.answer(&challenge, totp(&old.code(&clock))).await), code_refused());
    house.answer(&challenge, totp(&new.code(&clock))).await.unwrap();
    let challenge = house.challenge("mona@example.com").await;
    house.answer(&challenge, (Factor::RecoveryCode, codes[0].clone())).await.unwrap();
}

#[tokio::test]
async fn whoever_is_deactivated_after_his_password_was_right_does_not_get_in() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.colleague(&owner, "omar@example.com", Role::User).await;
    let (app, _) = house.enrol(&omar, &clock).await;
    let challenge = house.challenge("omar@example.com").await;
    house.deactivate(&owner, &omar.user.id).await.unwrap();
    assert_eq!(refusal(house.answer(&challenge, totp(&app.code(&clock))).await), challenge_refused());
    assert_eq!(house.count("sign_in_challenges").await, 0);
}

#[tokio::test]
async fn a_person_is_told_of_changed_factors_and_of_machines_that_he_was_not_seen_on() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let confirmation = async || (house.mails("mona@example.com").len() == 1).then_some(());
    eventually("her address is to be confirmed", LIMIT, confirmation).await;
    house.member("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let arrived = |count: usize| {
        let house = &house;
        eventually("an alert arrives", LIMIT, async move || {
            (house.mails("mona@example.com").len() > count).then_some(())
        })
    };
    arrived(1).await;
    let challenge = house.challenge("mona@example.com").await;
    let request = answer_request(&challenge, totp(&app.code(&clock)));
    house.challenges().answer_challenge(from("203.0.113.9", request)).await.unwrap();
    arrived(2).await;
    assert!(house.mails("mona@example.com").iter().any(|(_, text)| text.contains("203.0.113.9")));
}
