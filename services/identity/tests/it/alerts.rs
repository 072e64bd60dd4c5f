//! What people are told: by WhatsApp, and by e-mail where that is not possible.

use diwan_proto::{
    access::v1::{Grant, Role},
    identity::v1::{
        AlertMailboxNeedsCredentialsRequest, AlertPaymentFailedRequest, ChangePasswordRequest,
        alert_service_client::AlertServiceClient, credential_service_client::CredentialServiceClient,
    },
};
use diwan_runtime::{Env, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::Code;
use uuid::Uuid;

use crate::{
    cloud_api::{CloudApi, Reply},
    house::{House, LIMIT, Member, PASSWORD, refusal, refused},
    whatsapp::NUMBER,
};

fn mailbox_request(member: &Member) -> AlertMailboxNeedsCredentialsRequest {
    AlertMailboxNeedsCredentialsRequest {
        request_id: ids::new_id().to_string(),
        account_id: member.user.account_id.clone(),
        address: "support@nour.example".into(),
        user_id: String::new(),
    }
}

impl House {
    fn alerts(&self, service: &'static str) -> AlertServiceClient<Transport> {
        AlertServiceClient::new(self.world.to_as("identity", service))
    }

    async fn change_password(&self, member: &Member) {
        let request = ChangePasswordRequest {
            request_id: ids::new_id().to_string(),
            current_password: PASSWORD.into(),
            new_password: "another horse, another battery".into(),
            new_password_confirmation: "another horse, another battery".into(),
        };
        let mut credentials = CredentialServiceClient::new(self.world.to("identity"));
        credentials.change_password(member.says(request)).await.unwrap();
    }

    async fn no_jobs(&self) {
        eventually("the queue is empty", LIMIT, async || (self.count("jobs").await == 0).then_some(())).await;
    }

    /// How many e-mails to an address have these words in their subject.
    fn told(&self, to: &str, words: &str) -> usize {
        self.mails(to).iter().filter(|(subject, _)| subject.contains(words)).count()
    }
}

const PASSWORD_CHANGED: &str = "تغيّرت كلمة مرورك";
const MAILBOX: &str = "support@nour.example";

fn alerts(api: &CloudApi) -> Vec<Value> {
    let all = api.received().into_iter().map(|request| request.json);
    all.filter(|json| json["template"]["name"] != "diwan_code").collect()
}

/// A house whose owner has a number, at an API that then follows a script.
async fn with_number(script: &[Reply]) -> (CloudApi, House, Member) {
    let api = CloudApi::start(&[]).await;
    let env = api.env().with("DIWAN_IDENTITY_WHATSAPP_LIMIT_MS", "3000");
    let house = House::with(env).await;
    let owner = house.owner("mona@example.com").await;
    house.gets_number(&owner, &api, NUMBER).await;
    house.no_jobs().await;
    api.then(script);
    (api, house, owner)
}

#[tokio::test]
async fn a_changed_password_is_told_to_the_number_in_the_persons_language() {
    let (api, house, owner) = with_number(&[]).await;
    house.change_password(&owner).await;
    let alert = eventually("the alert arrives", LIMIT, async || alerts(&api).into_iter().next()).await;
    let template = &alert["template"];
    assert_eq!((&alert["to"], &template["name"]), (&json!(NUMBER), &json!("diwan_password_changed")));
    assert_eq!(template["language"], json!({"code": "ar"}));
    let parameters = template["components"][0]["parameters"].as_array().unwrap();
    assert_eq!(template["components"].as_array().unwrap().len(), 1);
    assert_eq!(parameters[0], json!({"type": "text", "text": "شركة النور"}));
    assert!(parameters[1]["text"].as_str().unwrap().ends_with("(Africa/Cairo)") && parameters.len() == 2);
    house.no_jobs().await;
    assert_eq!(house.told("mona@example.com", PASSWORD_CHANGED), 0);
}

#[tokio::test]
async fn without_a_number_it_is_told_by_e_mail_as_text_and_html() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    house.change_password(&owner).await;
    let told = async || (house.told("mona@example.com", PASSWORD_CHANGED) == 1).then_some(());
    eventually("the e-mail arrives", LIMIT, told).await;
}

#[tokio::test]
async fn what_the_api_puts_off_is_tried_again_and_taken_once() {
    let script = [
        Reply::Refused(500, 131_000, None),
        Reply::Refused(400, 131_056, None),
        Reply::Gateway(502),
        Reply::Refused(429, 80007, Some(1)),
    ];
    let (api, house, owner) = with_number(&script).await;
    house.change_password(&owner).await;
    house.no_jobs().await;
    assert_eq!(alerts(&api).len(), script.len() + 1);
    assert!(alerts(&api).windows(2).all(|pair| pair[0] == pair[1]), "the same message each time");
    assert_eq!(house.told("mona@example.com", PASSWORD_CHANGED), 0);
}

#[tokio::test]
async fn what_the_api_refuses_for_good_or_may_have_taken_is_not_sent_again_but_by_e_mail() {
    let refused = [Reply::Refused(400, 131_026, None), Reply::Refused(401, 190, None), Reply::Refused(500, 3, None)];
    for reply in refused.into_iter().chain([Reply::Cut, Reply::Silence, Reply::Gateway(504)]) {
        let (api, house, owner) = with_number(&[reply]).await;
        house.change_password(&owner).await;
        let told = async || (house.told("mona@example.com", PASSWORD_CHANGED) == 1).then_some(());
        eventually("the e-mail arrives", LIMIT, told).await;
        house.no_jobs().await;
        assert_eq!(alerts(&api).len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_success_counts_though_its_answer_breaks_off() {
    let (api, house, owner) = with_number(&[Reply::TakenAndCut]).await;
    house.change_password(&owner).await;
    house.no_jobs().await;
    assert_eq!((alerts(&api).len(), house.told("mona@example.com", PASSWORD_CHANGED)), (1, 0));
}

#[tokio::test]
async fn an_alert_whose_worker_died_with_it_goes_by_e_mail() {
    let (api, house, owner) = with_number(&[]).await;
    let payload = json!({
        "kind": "SendAlert", "user_id": owner.user.id, "alert": {"alert": "PasswordChanged"}, "at": "2026-01-02T03:04:05Z",
        "way": "Number",
    });
    sqlx::query("insert into jobs (account_id, id, payload, next_attempt_at, attempts, begun, created_at) values ($1, $2, $3, now(), 1, true, now())")
        .bind(owner.user.account_id.parse::<Uuid>().unwrap())
        .bind(ids::new_id())
        .bind(payload)
        .execute(&house.database.pool)
        .await
        .unwrap();
    let told = async || (house.told("mona@example.com", PASSWORD_CHANGED) == 1).then_some(());
    eventually("the e-mail arrives", LIMIT, told).await;
    assert!(alerts(&api).is_empty());
}

#[tokio::test]
async fn an_api_that_is_away_is_tried_until_it_is_back() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let env = Env::default()
        .with("DIWAN_IDENTITY_WHATSAPP_URL", format!("http://{address}/v25.0"))
        .with("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID", "105954558954427")
        .with("DIWAN_IDENTITY_WHATSAPP_TOKEN", "token");
    let house = House::with(env).await;
    let owner = house.owner("mona@example.com").await;
    sqlx::query("insert into whatsapp_numbers (account_id, user_id, number, confirmed_at) values ($1, $2, $3, now())")
        .bind(owner.user.account_id.parse::<Uuid>().unwrap())
        .bind(owner.user.id.parse::<Uuid>().unwrap())
        .bind(NUMBER)
        .execute(&house.database.pool)
        .await
        .unwrap();
    house.change_password(&owner).await;
    let failed =
        "jobs where kind = 'SendAlert' and attempts > 1 and last_error like '%cannot be reached%' and not begun";
    eventually("it is tried again", LIMIT, async || (house.count(failed).await == 1).then_some(())).await;
    assert_eq!(house.told("mona@example.com", PASSWORD_CHANGED), 0);
}

#[tokio::test]
async fn a_mailbox_that_needs_credentials_is_told_to_its_user_or_to_those_who_manage_the_account_once() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let user = house.colleague(&owner, "user@example.com", Role::User).await;
    let request = mailbox_request(&owner);
    for _ in 0..2 {
        house.alerts("mailbox").alert_mailbox_needs_credentials(request.clone()).await.unwrap();
    }
    house.no_jobs().await;
    let told = |to: &str| house.told(to, MAILBOX);
    assert_eq!(["mona@example.com", "admin@example.com", "user@example.com"].map(told), [1, 1, 0]);
    let own = AlertMailboxNeedsCredentialsRequest { user_id: user.user.id.clone(), ..mailbox_request(&owner) };
    house.alerts("mailbox").alert_mailbox_needs_credentials(own.clone()).await.unwrap();
    house.no_jobs().await;
    assert_eq!(["mona@example.com", "admin@example.com", "user@example.com"].map(told), [1, 1, 1]);
    let stranger = house.owner("stranger@example.com").await;
    let foreign = AlertMailboxNeedsCredentialsRequest { user_id: stranger.user.id, ..mailbox_request(&owner) };
    let unknown = AlertMailboxNeedsCredentialsRequest { user_id: ids::new_id().to_string(), ..mailbox_request(&owner) };
    for request in [foreign, unknown] {
        let answer = refusal(house.alerts("mailbox").alert_mailbox_needs_credentials(request).await);
        assert_eq!(answer, refused(Code::NotFound, "USER_NOT_FOUND"));
    }
    let other = refusal(house.alerts("billing").alert_mailbox_needs_credentials(mailbox_request(&owner)).await);
    assert_eq!(other.0, Code::PermissionDenied);
}

#[tokio::test]
async fn a_failed_payment_is_told_to_whoever_may_manage_the_subscription() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let payer = house.colleague(&owner, "payer@example.com", Role::User).await;
    house.change_role(&owner, &payer.user.id, Role::User, &[Grant::SubscriptionManagement]).await.unwrap();
    let request = AlertPaymentFailedRequest {
        request_id: ids::new_id().to_string(),
        account_id: owner.user.account_id.clone(),
        invoice: "2026-000017".into(),
        amount: "120.00 USD".into(),
    };
    house.alerts("billing").alert_payment_failed(request).await.unwrap();
    house.no_jobs().await;
    let told = |to: &str| {
        house.mails(to).iter().filter(|(_, text)| text.contains("2026-000017") && text.contains("120.00 USD")).count()
    };
    assert_eq!(["mona@example.com", "admin@example.com", "payer@example.com"].map(told), [1, 0, 1]);
}
