//! Operators help somebody who has lost his second factors, and nobody is helped out of factors that he still has.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        BeginFactorRecoveryRequest, BeginTotpRequest, Factor, FactorRecovery, GetFactorRecoveryRequest,
        RefuseFactorRecoveryRequest, RegenerateRecoveryCodesRequest, StopFactorRecoveryRequest,
        factor_recovery_service_client::FactorRecoveryServiceClient,
    },
};
use diwan_runtime::{Env, MockClock, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use tonic::{Code, Status};

use crate::{
    cloud_api::CloudApi,
    house::{House, LIMIT, Member, PASSWORD, bearing, refusal, refused},
    second_factor::{STEP, totp},
    throttle::{clock, house_at},
    whatsapp::NUMBER,
};

const MONA: &str = "mona@example.com";
const DAY: Duration = Duration::from_hours(24);
/// Of the e-mail that tells of it.
const WILL_GO: &str = "سيُزال عامل التحقق الثاني";
const CHANGED: &str = "تغيّر عامل التحقق الثاني";

impl House {
    fn recoveries(&self) -> FactorRecoveryServiceClient<Transport> {
        FactorRecoveryServiceClient::new(self.world.to("identity"))
    }

    async fn begin_recovery(&self, operator: &str, member: &Member) -> Result<FactorRecovery, Status> {
        let request = begin_request(&member.user.account_id, &member.user.id);
        let token = self.operator(operator, "factors.write").1;
        let begun = self.recoveries().begin_factor_recovery(bearing(&token, request)).await?;
        Ok(begun.into_inner().recovery.unwrap())
    }

    async fn recovery(&self, member: &Member) -> Result<FactorRecovery, Status> {
        let request =
            GetFactorRecoveryRequest { account_id: member.user.account_id.clone(), user_id: member.user.id.clone() };
        let token = self.operator("rana", "factors.read").1;
        let found = self.recoveries().get_factor_recovery(bearing(&token, request)).await?;
        Ok(found.into_inner().recovery.unwrap())
    }

    /// Whether a mail with these words in its subject arrives.
    async fn is_told(&self, to: &str, words: &str) {
        let told = async || self.mails(to).into_iter().find(|(subject, _)| subject.contains(words));
        eventually("he is told", LIMIT, told).await;
    }
}

fn begin_request(account: &str, user: &str) -> BeginFactorRecoveryRequest {
    BeginFactorRecoveryRequest {
        request_id: ids::new_id().to_string(),
        account_id: account.into(),
        user_id: user.into(),
        reason: "called, and showed a passport".into(),
    }
}

fn not_found() -> (Code, String) {
    refused(Code::NotFound, "FACTOR_RECOVERY_NOT_FOUND")
}

/// An owner with an authenticator, whose recovery goes on.
async fn begun(clock: &MockClock, env: Env) -> (House, Member, crate::second_factor::Authenticator) {
    let house = house_at(clock, env).await;
    let owner = house.owner(MONA).await;
    let (app, _) = house.enrol(&owner, clock).await;
    house.begin_recovery("rana", &owner).await.unwrap();
    (house, owner, app)
}

#[tokio::test]
async fn an_owner_who_lost_his_factors_is_told_at_once_and_a_day_later_signs_in_by_his_password() {
    let (api, clock) = (CloudApi::start(&[]).await, clock());
    let house = house_at(&clock, api.env()).await;
    let owner = house.owner(MONA).await;
    house.gets_number(&owner, &api, NUMBER).await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let device = house.trusting(MONA, &app, &clock).await;
    let recovery = house.begin_recovery("rana", &owner).await.unwrap();
    let (begun, due) = (recovery.begun_at.unwrap(), recovery.due_at.unwrap());
    assert_eq!(due.seconds - begun.seconds, 24 * 60 * 60);
    assert_eq!((recovery.begun_by.as_str(), recovery.reason.as_str()), ("rana", "called, and showed a passport"));
    assert_eq!(house.begin_recovery("samir", &owner).await.unwrap(), recovery, "it goes on");
    house.is_told(MONA, WILL_GO).await;
    let by_number = async || {
        let told = api.received().into_iter().find(|to| to.json["template"]["name"] == "diwan_factor_recovery_begun");
        told.filter(|to| to.json["to"] == NUMBER)
    };
    eventually("the number is told", LIMIT, by_number).await;
    assert_eq!(house.factors_of(&owner).await.recovery_due_at, recovery.due_at);
    clock.advance(DAY.saturating_sub(STEP));
    assert_eq!(house.recovery(&owner).await.unwrap(), recovery);
    assert!(house.is_trusted(&device.device_token, MONA).await, "nothing has happened yet");
    assert!(house.lives(&owner.tokens.refresh_token).await);
    clock.advance(STEP);
    let signed_in = async || house.sign_in(MONA, PASSWORD).await.unwrap().tokens;
    let tokens = eventually("the password is enough", LIMIT, signed_in).await;
    assert!(!house.lives(&owner.tokens.refresh_token).await, "the sessions of before have ended");
    assert!(!house.lives(&device.tokens.unwrap().refresh_token).await);
    let owner = Member { tokens, ..owner };
    let factors = house.factors_of(&owner).await;
    assert!(factors.factors.is_empty() && factors.recovery_codes_left == 0 && factors.recovery_due_at.is_none());
    assert_eq!(house.count("trusted_devices").await, 0);
    assert_eq!(refusal(house.recovery(&owner).await), not_found());
    house.is_told(MONA, CHANGED).await;
}

#[tokio::test]
async fn whoever_still_has_his_factor_keeps_it_by_using_it() {
    let clock = clock();
    let (house, owner, app) = begun(&clock, Env::default()).await;
    let challenge = house.challenge(MONA).await;
    house.answer(&challenge, totp(&app.code(&clock))).await.unwrap();
    assert_eq!(refusal(house.recovery(&owner).await), not_found());
    clock.advance(DAY);
    let jobs = "jobs where kind = 'RecoverFactors'";
    eventually("the job is done", LIMIT, async || (house.count(jobs).await == 0).then_some(())).await;
    house.challenge(MONA).await;
}

#[tokio::test]
async fn a_code_of_his_factor_ends_it_also_where_it_changes_no_factor() {
    let clock = clock();
    let (house, owner, app) = begun(&clock, Env::default()).await;
    let begin = BeginTotpRequest { code: app.code(&clock), ..BeginTotpRequest::default() };
    house.factors().begin_totp(owner.says(begin)).await.unwrap();
    assert_eq!(refusal(house.recovery(&owner).await), not_found());

    house.begin_recovery("rana", &owner).await.unwrap();
    house.begin_totp(&owner).await;
    assert!(house.recovery(&owner).await.is_ok(), "a password proves no factor");
    clock.advance(STEP);
    let refuse = RefuseFactorRecoveryRequest {
        request_id: ids::new_id().to_string(),
        code: app.code(&clock),
        ..RefuseFactorRecoveryRequest::default()
    };
    for _ in 0..2 {
        house.recoveries().refuse_factor_recovery(owner.says(refuse.clone())).await.unwrap();
    }
    assert_eq!(refusal(house.recovery(&owner).await), not_found());
}

#[tokio::test]
async fn a_changed_factor_a_refusal_a_deactivation_and_an_operator_end_it() {
    let clock = clock();
    let (house, owner, _) = begun(&clock, Env::default()).await;
    let codes = RegenerateRecoveryCodesRequest { password: PASSWORD.into(), ..Default::default() };
    house.factors().regenerate_recovery_codes(owner.says(codes)).await.unwrap();
    assert_eq!(refusal(house.recovery(&owner).await), not_found());

    house.begin_recovery("rana", &owner).await.unwrap();
    let refuse = RefuseFactorRecoveryRequest {
        request_id: ids::new_id().to_string(),
        password: "not hers".into(),
        ..Default::default()
    };
    let answer = refusal(house.recoveries().refuse_factor_recovery(owner.says(refuse.clone())).await);
    assert_eq!(answer, refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    let refuse = RefuseFactorRecoveryRequest { password: PASSWORD.into(), ..refuse };
    for _ in 0..2 {
        house.recoveries().refuse_factor_recovery(owner.says(refuse.clone())).await.unwrap();
    }
    assert_eq!(refusal(house.recovery(&owner).await), not_found());
    let refuse = RefuseFactorRecoveryRequest { request_id: ids::new_id().to_string(), ..refuse };
    assert_eq!(refusal(house.recoveries().refuse_factor_recovery(owner.says(refuse)).await), not_found());

    let omar = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.enrol(&omar, &clock).await;
    house.begin_recovery("rana", &omar).await.unwrap();
    house.deactivate(&owner, &omar.user.id).await.unwrap();
    assert_eq!(refusal(house.recovery(&omar).await), not_found());

    house.begin_recovery("rana", &owner).await.unwrap();
    let stop = StopFactorRecoveryRequest {
        request_id: ids::new_id().to_string(),
        account_id: owner.user.account_id.clone(),
        user_id: owner.user.id.clone(),
    };
    let token = house.operator("samir", "factors.write").1;
    for _ in 0..2 {
        house.recoveries().stop_factor_recovery(bearing(&token, stop.clone())).await.unwrap();
    }
    assert_eq!(refusal(house.recovery(&owner).await), not_found());
    assert_eq!(house.factors_of(&owner).await.factors, [i32::from(Factor::Totp), i32::from(Factor::RecoveryCode)]);
}

#[tokio::test]
async fn nobody_is_recovered_who_is_unknown_or_has_no_factor_and_no_operator_recovers_without_end() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner(MONA).await;
    let other = house.owner("other@example.com").await;
    let missing = refused(Code::FailedPrecondition, "NO_FACTOR_TO_RECOVER");
    assert_eq!(refusal(house.begin_recovery("rana", &owner).await), missing);
    let token = house.operator("rana", "factors.write").1;
    let elsewhere = begin_request(&other.user.account_id, &owner.user.id);
    let answer = house.recoveries().begin_factor_recovery(bearing(&token, elsewhere)).await;
    assert_eq!(refusal(answer), refused(Code::NotFound, "USER_NOT_FOUND"));
    let reader = house.operator("rana", "factors.read").1;
    let request = begin_request(&owner.user.account_id, &owner.user.id);
    let answer = house.recoveries().begin_factor_recovery(bearing(&reader, request)).await;
    assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied);
    house.enrol(&owner, &clock).await;
    let stop = |owner: &Member| StopFactorRecoveryRequest {
        request_id: ids::new_id().to_string(),
        account_id: owner.user.account_id.clone(),
        user_id: owner.user.id.clone(),
    };
    for _ in 0..10 {
        house.begin_recovery("rana", &owner).await.unwrap();
        house.recoveries().stop_factor_recovery(bearing(&token, stop(&owner))).await.unwrap();
    }
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    assert_eq!(refusal(house.begin_recovery("rana", &owner).await), throttled);
    assert_eq!(refusal(house.begin_recovery("samir", &owner).await), throttled, "the person is counted, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_beginnings_at_once_one_recovery_goes_on_and_it_ends_once() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner(MONA).await;
    house.enrol(&owner, &clock).await;
    let many = (0..16).map(|n| {
        let (house, owner) = (&house, &owner);
        async move { house.begin_recovery(&format!("operator {n}"), owner).await.unwrap() }
    });
    let begun = futures::future::join_all(many).await;
    assert!(begun.iter().all(|recovery| recovery == &begun[0]));
    clock.advance(DAY);
    let signed_in = async || house.sign_in(MONA, PASSWORD).await.unwrap().tokens;
    eventually("the password is enough", LIMIT, signed_in).await;
    let payloads = "feed_events where kind = 'diwan.identity.v1.FactorRecoveryChanged'";
    assert_eq!(house.count(payloads).await, 2, "begun, and done");
}
