//! Codes to a WhatsApp number that answer a challenge.

use diwan_proto::identity::v1::{
    DisableWhatsAppRequest, EnableWhatsAppRequest, EnableWhatsAppResponse, Factor, SendChallengeCodeRequest,
    SendChallengeCodeResponse, SignInChallenge,
};
use diwan_runtime::ids;
use diwan_testkit::eventually;
use futures::future::join_all;
use tonic::{Code, Status};

use crate::{
    cloud_api::CloudApi,
    house::{House, LIMIT, Member, PASSWORD, refusal, refused},
    second_factor::{challenge_refused, code_refused, wrong},
    throttle::{clock, house_at},
    whatsapp::NUMBER,
};

impl House {
    pub async fn enable_whatsapp(&self, member: &Member) -> Result<EnableWhatsAppResponse, Status> {
        let request = EnableWhatsAppRequest { password: PASSWORD.into(), ..EnableWhatsAppRequest::default() };
        Ok(self.factors().enable_whats_app(member.says(request)).await?.into_inner())
    }

    async fn send_code(&self, challenge: &SignInChallenge) -> Result<SendChallengeCodeResponse, Status> {
        let request = SendChallengeCodeRequest { challenge_token: challenge.token.clone() };
        Ok(self.challenges().send_challenge_code(request).await?.into_inner())
    }

    /// The code that arrives when one is sent for the challenge.
    async fn sent_code(&self, challenge: &SignInChallenge, api: &CloudApi) -> (Factor, String) {
        let before = api.codes().len();
        assert_eq!(self.send_code(challenge).await.unwrap().expires_at, challenge.expires_at);
        let code = eventually("a code arrives", LIMIT, async || api.codes().get(before).cloned()).await;
        (Factor::Whatsapp, code)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_code_to_the_confirmed_number_answers_the_challenge_that_it_was_sent_for_once() {
    let api = CloudApi::start(&[]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let missing = refused(Code::FailedPrecondition, "WHATSAPP_NUMBER_MISSING");
    assert_eq!(refusal(house.enable_whatsapp(&owner).await), missing);
    house.gets_number(&owner, &api, NUMBER).await;
    house.member("mona@example.com").await;
    let enabled = house.enable_whatsapp(&owner).await.unwrap();
    assert_eq!(enabled.recovery_codes.len(), 10);
    assert!(house.enable_whatsapp(&owner).await.unwrap().recovery_codes.is_empty(), "it was enabled");
    let (one, other) = (house.challenge("mona@example.com").await, house.challenge("mona@example.com").await);
    assert_eq!(one.factors, [i32::from(Factor::Whatsapp), i32::from(Factor::RecoveryCode)]);
    let code = house.sent_code(&one, &api).await;
    assert_eq!(refusal(house.answer(&other, code.clone()).await), code_refused(), "it is another challenge's");
    let code_of_one = (Factor::Whatsapp, wrong(&code.1));
    assert_eq!(refusal(house.answer(&one, code_of_one).await), code_refused());
    let newer = house.sent_code(&one, &api).await;
    if newer != code {
        assert_eq!(refusal(house.answer(&one, code).await), code_refused(), "a newer one was sent");
    }
    let answers = join_all((0..64).map(|_| house.answer(&one, newer.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(refusal(house.send_code(&one).await), challenge_refused());
}

#[tokio::test]
async fn codes_are_sent_for_open_challenges_that_admit_them_and_not_without_end() {
    let api = CloudApi::start(&[]).await;
    let clock = clock();
    let house = house_at(&clock, api.env()).await;
    let owner = house.owner("mona@example.com").await;
    house.enrol(&owner, &clock).await;
    house.gets_number(&owner, &api, NUMBER).await;
    let challenge = house.challenge("mona@example.com").await;
    let not_available = refused(Code::FailedPrecondition, "FACTOR_NOT_AVAILABLE");
    assert_eq!(refusal(house.send_code(&challenge).await), not_available, "the number is no factor of hers");
    assert!(house.enable_whatsapp(&owner).await.unwrap().recovery_codes.is_empty(), "it is the second one");
    assert_eq!(refusal(house.send_code(&challenge).await), challenge_refused(), "her factors have changed");
    let challenge = house.challenge("mona@example.com").await;
    for _ in 0..10 {
        house.send_code(&challenge).await.unwrap();
    }
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    assert_eq!(refusal(house.send_code(&challenge).await), throttled);
    let request = DisableWhatsAppRequest {
        request_id: ids::new_id().to_string(),
        password: PASSWORD.into(),
        ..DisableWhatsAppRequest::default()
    };
    let after = house.factors().disable_whats_app(owner.says(request)).await.unwrap().into_inner();
    let left = after.second_factors.unwrap().factors;
    assert_eq!(left, [i32::from(Factor::Totp), i32::from(Factor::RecoveryCode)]);
}
