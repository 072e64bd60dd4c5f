//! The WhatsApp number of a person: confirmed by a code, changed, removed.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        ConfirmWhatsAppNumberRequest, GetWhatsAppNumberRequest, GetWhatsAppNumberResponse, RemoveWhatsAppNumberRequest,
        SetWhatsAppNumberRequest, SetWhatsAppNumberResponse,
        whats_app_number_service_client::WhatsAppNumberServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::eventually;
use diwan_transport::Transport;
use futures::future::join_all;
use serde_json::json;
use tonic::{Code, Status};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    cloud_api::{CloudApi, Reply, TOKEN},
    house::{House, LIMIT, Member, PASSWORD, refusal, refused},
    secrets::Log,
    throttle::{clock, house_at},
};

pub const NUMBER: &str = "+201001234567";

pub fn set_request(number: &str) -> SetWhatsAppNumberRequest {
    SetWhatsAppNumberRequest {
        request_id: ids::new_id().to_string(),
        current_password: PASSWORD.into(),
        number: number.into(),
    }
}

fn remove_request() -> RemoveWhatsAppNumberRequest {
    RemoveWhatsAppNumberRequest { request_id: ids::new_id().to_string(), current_password: PASSWORD.into() }
}

impl House {
    pub fn numbers(&self) -> WhatsAppNumberServiceClient<Transport> {
        WhatsAppNumberServiceClient::new(self.world.to("identity"))
    }

    pub async fn set_number(&self, member: &Member, number: &str) -> Result<SetWhatsAppNumberResponse, Status> {
        Ok(self.numbers().set_whats_app_number(member.says(set_request(number))).await?.into_inner())
    }

    pub async fn confirm_number(&self, member: &Member, confirmation: &str, code: &str) -> Result<String, Status> {
        let request = ConfirmWhatsAppNumberRequest { confirmation_id: confirmation.into(), code: code.into() };
        Ok(self.numbers().confirm_whats_app_number(member.says(request)).await?.into_inner().number)
    }

    async fn number(&self, member: &Member) -> GetWhatsAppNumberResponse {
        let request = member.says(GetWhatsAppNumberRequest {});
        self.numbers().get_whats_app_number(request).await.unwrap().into_inner()
    }

    /// Gives a member this number by the code that arrives at `api`.
    pub async fn gets_number(&self, member: &Member, api: &CloudApi, number: &str) {
        let before = api.codes().len();
        let set = self.set_number(member, number).await.unwrap();
        let code = code(api, before + 1).await;
        assert_eq!(self.confirm_number(member, &set.confirmation_id, &code).await.unwrap(), number);
    }
}

/// The newest code, once there are `count`.
pub async fn code(api: &CloudApi, count: usize) -> String {
    eventually("a code arrives", LIMIT, async || api.codes().get(count - 1).cloned()).await
}

/// A code that is another one.
fn other(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

fn code_refused() -> (Code, String) {
    refused(Code::PermissionDenied, "CODE_REFUSED")
}

fn not_found() -> (Code, String) {
    refused(Code::NotFound, "WHATSAPP_CONFIRMATION_NOT_FOUND")
}

#[tokio::test]
async fn a_number_becomes_a_persons_by_the_code_that_was_sent_to_it_exactly_as_the_api_documents() {
    let api = CloudApi::start(&[]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let set = house.set_number(&owner, "+20 100 123-4567").await.unwrap();
    let code = code(&api, 1).await;
    let pending = house.number(&owner).await;
    assert_eq!((pending.number.as_str(), pending.pending_number.as_str()), ("", NUMBER));
    assert_eq!(pending.confirmation_id, set.confirmation_id);
    let request = api.received().remove(0);
    assert_eq!(request.line, "POST /v25.0/105954558954427/messages HTTP/1.1");
    assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["host"], api.address.to_string());
    let parameters = json!([{"type": "text", "text": code}]);
    let expected = json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": NUMBER, "type": "template",
        "template": {"name": "diwan_code", "language": {"code": "ar"}, "components": [
            {"type": "body", "parameters": parameters},
            {"type": "button", "sub_type": "url", "index": "0", "parameters": parameters},
        ]},
    });
    assert_eq!(request.json, expected);
    assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &other(&code)).await), code_refused());
    assert_eq!(house.confirm_number(&owner, &set.confirmation_id, &code).await.unwrap(), NUMBER);
    assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &code).await), not_found());
    let now = house.number(&owner).await;
    assert_eq!((now.number.as_str(), now.pending_number.as_str()), (NUMBER, ""));
    assert!(now.confirmed_at.is_some());
    let told =
        async || house.mails("mona@example.com").into_iter().find(|(subject, _)| subject.contains("عامل التحقق"));
    eventually("the change is told by e-mail", LIMIT, told).await;
}

#[tokio::test]
async fn a_code_is_good_for_five_tries_and_ten_minutes() {
    let api = CloudApi::start(&[]).await;
    let clock = clock();
    let house = house_at(&clock, api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let set = house.set_number(&owner, NUMBER).await.unwrap();
    let tried = code(&api, 1).await;
    for _ in 0..5 {
        assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &other(&tried)).await), code_refused());
    }
    assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &tried).await), code_refused());
    let set = house.set_number(&owner, NUMBER).await.unwrap();
    let late = code(&api, 2).await;
    clock.advance(Duration::from_mins(10));
    let owner = house.member("mona@example.com").await;
    assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &late).await), not_found());
    assert_eq!(house.number(&owner).await, GetWhatsAppNumberResponse::default());
}

#[tokio::test]
async fn wrong_codes_of_numbers_are_counted_like_those_of_sign_ins() {
    let api = CloudApi::start(&[]).await;
    let clock = clock();
    let house = house_at(&clock, api.env()).await;
    let owner = house.owner("mona@example.com").await;
    for round in 1..=2 {
        let set = house.set_number(&owner, NUMBER).await.unwrap();
        let right = code(&api, round).await;
        for _ in 0..5 {
            let answer = house.confirm_number(&owner, &set.confirmation_id, &other(&right)).await;
            assert_eq!(refusal(answer), code_refused());
        }
    }
    assert_eq!(house.count("failures where counter = 'CODE' and in_a_row = 10").await, 1);
    let set = house.set_number(&owner, NUMBER).await.unwrap();
    let right = code(&api, 3).await;
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &right).await), throttled);
    clock.advance(Duration::from_secs(30));
    house.confirm_number(&owner, &set.confirmation_id, &right).await.unwrap();
    assert_eq!(
        house.count("failures where counter = 'CODE' and in_a_row = 10").await,
        1,
        "who names a number of his own does not wipe out what he has guessed"
    );
}

#[tokio::test]
async fn of_many_uses_of_one_code_at_once_one_counts() {
    let api = CloudApi::start(&[]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let set = house.set_number(&owner, NUMBER).await.unwrap();
    let code = code(&api, 1).await;
    let uses = join_all((0..32).map(|_| house.confirm_number(&owner, &set.confirmation_id, &code))).await;
    assert_eq!(uses.iter().filter(|used| used.is_ok()).count(), 1);
    let alerts = "jobs where kind = 'SendAlert'";
    eventually("the queue is empty", LIMIT, async || (house.count(alerts).await == 0).then_some(())).await;
    let told = house.mails("mona@example.com").into_iter().filter(|(subject, _)| subject.contains("عامل التحقق"));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_new_number_takes_the_place_of_one_that_waits_and_nobody_confirms_for_another() {
    let api = CloudApi::start(&[]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let colleague = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.gets_number(&owner, &api, NUMBER).await;
    let first = house.set_number(&owner, "+351912345678").await.unwrap();
    let old = code(&api, 2).await;
    let newer = house.set_number(&owner, "+5491112345678").await.unwrap();
    let newest = code(&api, 3).await;
    assert_eq!(refusal(house.confirm_number(&owner, &first.confirmation_id, &old).await), not_found());
    let unknown = refusal(house.confirm_number(&colleague, &ids::new_id().to_string(), &newest).await);
    assert_eq!(refusal(house.confirm_number(&colleague, &newer.confirmation_id, &newest).await), unknown);
    assert_eq!(house.number(&owner).await.number, NUMBER, "the number stays until the next is confirmed");
    house.confirm_number(&owner, &newer.confirmation_id, &newest).await.unwrap();
    assert_eq!(house.number(&owner).await.number, "+5491112345678");
    assert_eq!(house.number(&colleague).await, GetWhatsAppNumberResponse::default());
}

#[tokio::test]
async fn a_stolen_token_neither_sets_nor_removes_a_number_and_a_retry_sends_no_second_code() {
    let api = CloudApi::start(&[]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    let wrong = SetWhatsAppNumberRequest { current_password: "not her password".into(), ..set_request(NUMBER) };
    let answer = refusal(house.numbers().set_whats_app_number(owner.says(wrong)).await);
    assert_eq!(answer, refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    let nothing = refusal(house.numbers().remove_whats_app_number(owner.says(remove_request())).await);
    assert_eq!(nothing, refused(Code::NotFound, "WHATSAPP_NUMBER_NOT_FOUND"));
    let request = set_request(NUMBER);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = house.numbers().set_whats_app_number(owner.says(request.clone())).await.unwrap();
        answers.push(answer.into_inner());
    }
    assert_eq!(answers[0], answers[1]);
    let only = code(&api, 1).await;
    house.confirm_number(&owner, &answers[0].confirmation_id, &only).await.unwrap();
    assert_eq!(api.codes().len(), 1);
    let wrong = RemoveWhatsAppNumberRequest { current_password: "not her password".into(), ..remove_request() };
    let answer = refusal(house.numbers().remove_whats_app_number(owner.says(wrong)).await);
    assert_eq!(answer, refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    let remove = remove_request();
    for _ in 0..2 {
        house.numbers().remove_whats_app_number(owner.says(remove.clone())).await.unwrap();
    }
    assert_eq!(house.number(&owner).await, GetWhatsAppNumberResponse::default());
}

#[tokio::test]
async fn a_number_that_is_a_second_factor_stays() {
    let api = CloudApi::start(&[]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    house.gets_number(&owner, &api, NUMBER).await;
    sqlx::query("insert into second_factors (account_id, user_id, whatsapp) values ($1::uuid, $2::uuid, true)")
        .bind(owner.user.account_id.parse::<uuid::Uuid>().unwrap())
        .bind(owner.user.id.parse::<uuid::Uuid>().unwrap())
        .execute(&house.database.pool)
        .await
        .unwrap();
    let answer = refusal(house.numbers().remove_whats_app_number(owner.says(remove_request())).await);
    assert_eq!(answer, refused(Code::FailedPrecondition, "WHATSAPP_NUMBER_NEEDED"));
}

#[tokio::test]
async fn nobody_has_codes_sent_without_end() {
    let api = CloudApi::start(&[]).await;
    let clock = clock();
    let house = house_at(&clock, api.env()).await;
    let owner = house.owner("mona@example.com").await;
    for _ in 0..10 {
        house.set_number(&owner, NUMBER).await.unwrap();
    }
    let refusal = refusal(house.set_number(&owner, NUMBER).await);
    assert_eq!(refusal, refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"));
}

#[tokio::test]
async fn no_number_is_sent_codes_without_end_whoever_asks() {
    let api = CloudApi::start(&[]).await;
    let clock = clock();
    let house = house_at(&clock, api.env()).await;
    let throttled = refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
    let (one, two) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    for _ in 0..5 {
        house.set_number(&one, NUMBER).await.unwrap();
        house.set_number(&two, NUMBER).await.unwrap();
    }
    for owner in [&one, &two] {
        assert_eq!(refusal(house.set_number(owner, NUMBER).await), throttled);
    }
    house.set_number(&one, "+201001234568").await.unwrap();
}

#[tokio::test]
async fn a_code_that_may_have_arrived_is_not_sent_again_and_one_that_was_put_off_is() {
    let script = [Reply::Cut, Reply::Refused(503, 131_016, None), Reply::Refused(429, 130_429, Some(2))];
    let api = CloudApi::start(&script).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    house.set_number(&owner, NUMBER).await.unwrap();
    let codes = "jobs where kind = 'SendNumberCode'";
    let done = async || (api.codes().len() == 1 && house.count(codes).await == 0).then_some(());
    eventually("the code is given up", LIMIT, done).await;
    let set = house.set_number(&owner, NUMBER).await.unwrap();
    let taken = code(&api, 4).await;
    let times: Vec<_> = api.received().iter().map(|request| request.at).collect();
    assert!(times[3] - times[2] >= Duration::from_secs(2), "Retry-After is kept");
    let put_off = api.codes().remove(2);
    if put_off != taken {
        assert_eq!(refusal(house.confirm_number(&owner, &set.confirmation_id, &put_off).await), code_refused());
    }
    house.confirm_number(&owner, &set.confirmation_id, &taken).await.unwrap();
    assert_eq!(api.received().len(), 4);
}

#[tokio::test]
async fn neither_access_token_nor_code_nor_number_is_found_in_the_log_or_elsewhere_in_the_database() {
    let log = Log::default();
    let shown = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(log.clone()).finish();
    let _shown = tracing::subscriber::set_default(shown);
    let api = CloudApi::start(&[Reply::Refused(400, 131_026, None)]).await;
    let house = House::with(api.env()).await;
    let owner = house.owner("mona@example.com").await;
    house.set_number(&owner, NUMBER).await.unwrap();
    let read = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    eventually("the refusal is in the log", LIMIT, async || read().contains("131026").then_some(())).await;
    let refused = code(&api, 1).await;
    let set = house.set_number(&owner, NUMBER).await.unwrap();
    let taken = code(&api, 2).await;
    house.confirm_number(&owner, &set.confirmation_id, &taken).await.unwrap();
    let (dump, log) = (house.dump().await, read());
    assert!(log.contains("sql") && log.contains("+20…67"), "the log was read");
    assert_eq!(dump.matches(NUMBER).count(), 1, "in its own table");
    assert!(!dump.contains(&hex::encode(NUMBER)) && !log.contains(NUMBER));
    assert!(!log.contains(TOKEN) && !dump.contains(TOKEN));
    for code in [refused, taken] {
        // Six digits alone are found by chance in times and ids.
        assert!(!log.contains(&format!("\"{code}\"")) && !dump.contains(&hex::encode(code)));
    }
}
