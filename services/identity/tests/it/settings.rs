//! Settings of an account, and the confirmation of its owner's address.

use std::{sync::Arc, time::Duration};

use diwan_proto::{
    access::v1::Role,
    feed::v1::{WatchEventsRequest, feed_service_client::FeedServiceClient},
    identity::v1::{
        Account, AccountChanged, ConfirmEmailRequest, GetAccountRequest, ResendEmailConfirmationRequest,
        UpdateAccountRequest,
    },
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;
use jiff::Timestamp;
use prost::{Message as _, Name as _};
use prost_types::FieldMask;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::house::{House, LIMIT, Member, refusal, refused};

impl House {
    async fn account(&self, member: &Member) -> Account {
        let answer = self.accounts().get_account(member.says(GetAccountRequest {})).await.unwrap();
        answer.into_inner().account.unwrap()
    }

    async fn update(&self, actor: &Member, account: Account, paths: &[&str]) -> Result<Account, Status> {
        let request = UpdateAccountRequest {
            request_id: ids::new_id().to_string(),
            account: Some(account),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        };
        Ok(self.accounts().update_account(actor.says(request)).await?.into_inner().account.unwrap())
    }

    async fn confirm(&self, token: &str) -> Result<String, Status> {
        let request = ConfirmEmailRequest { token: token.into() };
        Ok(self.accounts().confirm_email(request).await?.into_inner().email)
    }

    /// The tokens of the confirmations that an address has got, once there are so many.
    async fn confirmation_tokens(&self, email: &str, count: usize) -> Vec<String> {
        eventually("the confirmations arrive", LIMIT, async || {
            let mails = self.mails(email);
            let links = mails.iter().filter_map(|(_, text)| text.split_once("https://diwan.example/confirm-email/"));
            let tokens: Vec<_> = links.map(|(_, rest)| rest.split_whitespace().next().unwrap().to_owned()).collect();
            Some(tokens).filter(|tokens| tokens.len() == count)
        })
        .await
    }

    async fn resend_confirmation(&self, owner: &Member) -> Result<(), Status> {
        let request = ResendEmailConfirmationRequest { request_id: ids::new_id().to_string() };
        self.accounts().resend_email_confirmation(owner.says(request)).await.map(|_| ())
    }
}

fn not_found() -> (Code, String) {
    refused(Code::NotFound, "CONFIRMATION_NOT_FOUND")
}

#[tokio::test]
async fn administrators_change_what_the_mask_names_and_the_feed_tells() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let agent = house.colleague(&owner, "agent@example.com", Role::User).await;
    let before = house.account(&agent).await;
    assert_eq!((before.version, before.show_agent_name), (1, false));
    let new = Account {
        name: "Nour".into(),
        time_zone: "America/Sao_Paulo".into(),
        language: "pt".into(),
        show_agent_name: true,
        ..Account::default()
    };
    let named = house.update(&admin, new.clone(), &["name"]).await.unwrap();
    assert_eq!(named, Account { name: "Nour".into(), version: 2, ..before.clone() });
    let all = house.update(&owner, new.clone(), &["time_zone", "language", "show_agent_name"]).await.unwrap();
    assert_eq!(
        all,
        Account {
            id: before.id.clone(),
            version: 3,
            created_at: before.created_at,
            state: before.state,
            ..new.clone()
        }
    );
    assert_eq!(house.account(&agent).await, all);
    assert_eq!(
        refusal(house.update(&agent, new, &["name"]).await),
        refused(Code::PermissionDenied, "PERMISSION_DENIED")
    );
    let mut feed = FeedServiceClient::new(house.world.to_as("identity", "conversation"));
    let mut events = feed.watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < 3 {
        for event in timeout(LIMIT, events.message()).await.unwrap().unwrap().unwrap().events {
            let payload = event.payload.unwrap();
            if payload.type_url.ends_with(&AccountChanged::full_name()) {
                let account = AccountChanged::decode(payload.value.as_slice()).unwrap().account.unwrap();
                assert_eq!((event.entity_id, event.entity_version), (account.id.clone(), account.version));
                told.push(account);
            }
        }
    }
    assert_eq!(told, [before, named, all]);
}

#[tokio::test]
async fn every_bad_setting_is_named_and_nothing_else_is_looked_at() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let bad = Account { name: "a\nb".into(), time_zone: "Cairo".into(), language: "fr".into(), ..Account::default() };
    let fields = async |paths: &[&str]| {
        let status = house.update(&owner, bad.clone(), paths).await.unwrap_err();
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
    };
    assert_eq!(
        fields(&["name", "time_zone", "language"]).await,
        ["account.name", "account.time_zone", "account.language"]
    );
    assert_eq!(fields(&["id", "version"]).await, ["update_mask"]);
    assert_eq!(fields(&[]).await, ["update_mask"]);
    assert!(house.update(&owner, bad.clone(), &["show_agent_name"]).await.is_ok());
}

#[tokio::test]
async fn the_owner_confirms_his_address_by_the_newest_link_as_often_as_he_opens_it() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    assert!(!house.account(&owner).await.email_confirmed);
    let first = house.confirmation_tokens("mona@example.com", 1).await.remove(0);
    assert_eq!(house.mails("mona@example.com")[0].0, "أكّد عنوان بريدك في ديوان");
    house.resend_confirmation(&owner).await.unwrap();
    let tokens = house.confirmation_tokens("mona@example.com", 2).await;
    let second = tokens.into_iter().find(|token| *token != first).unwrap();
    for bad in [first.as_str(), "nonsense", &second[1..]] {
        assert_eq!(refusal(house.confirm(bad).await), not_found());
    }
    for _ in 0..2 {
        assert_eq!(house.confirm(&second).await.unwrap(), "mona@example.com");
    }
    let account = house.account(&owner).await;
    assert_eq!((account.email_confirmed, account.version), (true, 2), "the second time changed nothing");
    assert_eq!(refusal(house.resend_confirmation(&owner).await), refused(Code::FailedPrecondition, "EMAIL_CONFIRMED"));
}

#[tokio::test]
async fn a_link_that_has_expired_confirms_nothing() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    house.owner("mona@example.com").await;
    let token = house.confirmation_tokens("mona@example.com", 1).await.remove(0);
    clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(refusal(house.confirm(&token).await), not_found());
    assert!(!house.account(&house.member("mona@example.com").await).await.email_confirmed);
}
