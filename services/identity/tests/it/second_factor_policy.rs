//! An account that demands a second factor from everyone, and colleagues who have lost theirs.

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        BeginEnrolmentRequest, CompleteEnrolmentRequest, CompleteEnrolmentResponse, DisableTotpRequest, Factor,
        GetSecondFactorPolicyRequest, GetUserSecondFactorsRequest, RefreshSessionRequest,
        ResetUserSecondFactorsRequest, SetSecondFactorPolicyRequest, SetSecondFactorPolicyResponse, SignInChallenge,
    },
};
use diwan_runtime::{Env, ids};
use futures::{StreamExt as _, future::join, stream::FuturesUnordered};
use tonic::{Code, Status};

use crate::{
    house::{House, Member, PASSWORD, refusal, refused},
    second_factor::{Authenticator, STEP, challenge_refused, code_refused, totp, wrong},
    throttle::{clock, house_at},
};

impl House {
    pub async fn demand(&self, member: &Member, demanded: bool) -> Result<SetSecondFactorPolicyResponse, Status> {
        let request =
            SetSecondFactorPolicyRequest { request_id: ids::new_id().to_string(), demanded, password: PASSWORD.into() };
        Ok(self.factors().set_second_factor_policy(member.says(request)).await?.into_inner())
    }

    pub async fn lives(&self, refresh_token: &str) -> bool {
        let request = RefreshSessionRequest { refresh_token: refresh_token.into() };
        self.sessions().refresh_session(request).await.is_ok()
    }

    pub async fn begin_enrolment(&self, challenge: &SignInChallenge) -> Result<Authenticator, Status> {
        let request = BeginEnrolmentRequest { challenge_token: challenge.token.clone() };
        let begun = self.challenges().begin_enrolment(request).await?.into_inner();
        Ok(Authenticator::scanning(&begun.totp.unwrap()))
    }

    pub async fn complete(&self, challenge: &SignInChallenge, code: &str) -> Result<CompleteEnrolmentResponse, Status> {
        let request = CompleteEnrolmentRequest {
            challenge_token: challenge.token.clone(),
            code: code.into(),
            trust_device: true,
            factor: Factor::Unspecified.into(),
        };
        Ok(self.challenges().complete_enrolment(request).await?.into_inner())
    }

    async fn reset_factors(&self, actor: &Member, user: &str) -> Result<(), Status> {
        let request = ResetUserSecondFactorsRequest {
            request_id: ids::new_id().to_string(),
            user_id: user.into(),
            password: PASSWORD.into(),
        };
        self.factors().reset_user_second_factors(actor.says(request)).await.map(drop)
    }
}

pub fn not_available() -> (Code, String) {
    refused(Code::FailedPrecondition, "FACTOR_NOT_AVAILABLE")
}

#[tokio::test]
async fn whoever_has_no_factor_when_one_is_demanded_can_only_set_one_up() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.colleague(&owner, "omar@example.com", Role::User).await;
    let missing = refused(Code::FailedPrecondition, "SECOND_FACTOR_MISSING");
    assert_eq!(refusal(house.demand(&owner, true).await), missing, "who demands one has one");
    assert_eq!(house.demand(&omar, true).await.unwrap_err().code(), Code::PermissionDenied);
    let (app, _) = house.enrol(&owner, &clock).await;
    assert!(house.demand(&owner, true).await.unwrap().demanded);
    let policy = house.factors().get_second_factor_policy(omar.says(GetSecondFactorPolicyRequest {})).await;
    assert!(policy.unwrap().into_inner().demanded);
    assert!(!house.lives(&omar.tokens.refresh_token).await && house.lives(&owner.tokens.refresh_token).await);
    assert!(house.count("revocations").await > 0, "access tokens are refused too");
    let challenge = house.challenge("omar@example.com").await;
    assert!(challenge.factors.is_empty());
    for factor in [Factor::Totp, Factor::Whatsapp, Factor::RecoveryCode] {
        assert_eq!(refusal(house.answer(&challenge, (factor, "123456".into())).await), code_refused());
    }
    assert_eq!(refusal(house.complete(&challenge, "123456").await), not_available(), "none was begun");
    let challenge = house.challenge("omar@example.com").await;
    let omars = house.begin_enrolment(&challenge).await.unwrap();
    assert_eq!(refusal(house.complete(&challenge, &wrong(&omars.code(&clock))).await), code_refused());
    let done = house.complete(&challenge, &omars.code(&clock)).await.unwrap();
    assert_eq!(done.recovery_codes.len(), 10);
    assert!(!done.device_token.is_empty());
    let omar = Member { user: done.user.unwrap(), tokens: done.tokens.unwrap() };
    assert_eq!(refusal(house.complete(&challenge, &omars.code(&clock)).await), challenge_refused());
    clock.advance(STEP);
    let request = DisableTotpRequest {
        request_id: ids::new_id().to_string(),
        code: omars.code(&clock),
        ..DisableTotpRequest::default()
    };
    let answer = house.factors().disable_totp(omar.says(request)).await;
    assert_eq!(refusal(answer), refused(Code::FailedPrecondition, "SECOND_FACTOR_DEMANDED"));
    let challenge = house.challenge("mona@example.com").await;
    assert_eq!(refusal(house.begin_enrolment(&challenge).await.map(drop)), not_available(), "she has a factor");
    house.answer(&challenge, totp(&app.code(&clock))).await.unwrap();
}

#[tokio::test]
async fn an_account_that_no_longer_demands_a_factor_lets_in_without() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "omar@example.com", Role::User).await;
    house.enrol(&owner, &clock).await;
    house.demand(&owner, true).await.unwrap();
    house.challenge("omar@example.com").await;
    house.demand(&owner, false).await.unwrap();
    house.member("omar@example.com").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_signs_in_while_a_factor_becomes_demanded_keeps_no_session_without_one() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "omar@example.com", Role::User).await;
    house.enrol(&owner, &clock).await;
    for before in [1, 4, 8] {
        let mut sign_ins: FuturesUnordered<_> = (0..12).map(|_| house.sign_in("omar@example.com", PASSWORD)).collect();
        let mut answers: Vec<_> = sign_ins.by_ref().take(before).collect().await;
        let (later, demanded) = join(sign_ins.collect::<Vec<_>>(), house.demand(&owner, true)).await;
        answers.extend(later);
        demanded.unwrap();
        for tokens in answers.into_iter().filter_map(|answer| answer.unwrap().tokens) {
            assert!(!house.lives(&tokens.refresh_token).await);
        }
        house.challenge("omar@example.com").await;
        house.demand(&owner, false).await.unwrap();
    }
}

#[tokio::test]
async fn an_admin_resets_a_colleague_who_lost_his_factor_but_not_the_owner_and_not_himself() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "amal@example.com", Role::Admin).await;
    let omar = house.colleague(&owner, "omar@example.com", Role::User).await;
    for member in [&owner, &admin, &omar] {
        house.enrol(member, &clock).await;
    }
    let precondition = |reason: &str| refused(Code::FailedPrecondition, reason);
    assert_eq!(refusal(house.reset_factors(&admin, &owner.user.id).await), precondition("OWNER_IS_PROTECTED"));
    assert_eq!(refusal(house.reset_factors(&admin, &admin.user.id).await), precondition("CANNOT_RESET_OWN_FACTORS"));
    assert_eq!(refusal(house.reset_factors(&owner, &owner.user.id).await), precondition("CANNOT_RESET_OWN_FACTORS"));
    let unknown = ids::new_id().to_string();
    assert_eq!(refusal(house.reset_factors(&admin, &unknown).await), refused(Code::NotFound, "USER_NOT_FOUND"));
    assert_eq!(house.reset_factors(&omar, &admin.user.id).await.unwrap_err().code(), Code::PermissionDenied);
    let request = GetUserSecondFactorsRequest { user_id: omar.user.id.clone() };
    let found = house.factors().get_user_second_factors(admin.says(request)).await.unwrap().into_inner();
    assert_eq!(found.second_factors.unwrap().recovery_codes_left, 10);
    house.reset_factors(&admin, &omar.user.id).await.unwrap();
    assert!(!house.lives(&omar.tokens.refresh_token).await);
    let omar = house.member("omar@example.com").await;
    assert!(house.factors_of(&omar).await.factors.is_empty());
    house.reset_factors(&owner, &admin.user.id).await.unwrap();
    house.member("amal@example.com").await;
}
