//! A new password by the old one, by e-mail; and one's own sessions.

use std::{collections::HashSet, time::Duration};

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        ChangePasswordRequest, GetUserRequest, ListSessionsRequest, RefreshSessionRequest, RequestPasswordResetRequest,
        ResetPasswordRequest, RevokeSessionRequest, Session, credential_service_client::CredentialServiceClient,
    },
};
use diwan_runtime::{Env, ids};
use diwan_testkit::{bad_fields, eventually};
use diwan_transport::Transport;
use futures::future::join_all;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{
    house::{House, LIMIT, Member, PASSWORD, refusal, refused},
    sign_in::Path,
    throttle::{clock, from, house_at},
};

pub const NEW: &str = "a quiet harbour at dawn";

fn reset_not_found() -> (Code, String) {
    refused(Code::NotFound, "PASSWORD_RESET_NOT_FOUND")
}

fn change_request(current: &str) -> ChangePasswordRequest {
    ChangePasswordRequest {
        request_id: ids::new_id().to_string(),
        current_password: current.into(),
        new_password: NEW.into(),
        new_password_confirmation: NEW.into(),
    }
}

impl House {
    fn credentials(&self) -> CredentialServiceClient<Transport> {
        CredentialServiceClient::new(self.world.to("identity"))
    }

    async fn is_alive(&self, member: &Member) -> bool {
        let request = RefreshSessionRequest { refresh_token: member.tokens.refresh_token.clone() };
        self.sessions().refresh_session(request).await.is_ok()
    }

    async fn own_sessions(&self, member: &Member) -> Vec<Session> {
        let request = member.says(ListSessionsRequest::default());
        self.credentials().list_sessions(request).await.unwrap().into_inner().sessions
    }

    pub async fn ask_for_reset(&self, email: &str) -> Result<(), Status> {
        let request = RequestPasswordResetRequest { request_id: ids::new_id().to_string(), email: email.into() };
        self.credentials().request_password_reset(from("192.0.2.9", request)).await.map(drop)
    }

    pub async fn reset(&self, token: &str) -> Result<(), Status> {
        let request = ResetPasswordRequest { token: token.into(), new_password: NEW.into() };
        self.credentials().reset_password(request).await.map(drop)
    }

    /// The tokens of the resets sent to an address, once there are `count`.
    pub async fn reset_tokens(&self, email: &str, count: usize) -> Vec<String> {
        eventually("password resets arrive", LIMIT, async || {
            let texts = self.mails(email).into_iter().map(|(_, text)| text);
            let tokens: Vec<_> = texts.filter_map(|text| token_in(&text)).collect();
            (tokens.len() == count).then_some(tokens)
        })
        .await
    }

    async fn revoked(&self, subject: &str) -> i64 {
        sqlx::query_scalar("select count(*) from revocations where subject = $1")
            .bind(subject)
            .fetch_one(&self.database.pool)
            .await
            .unwrap()
    }
}

fn token_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("https://diwan.example/password-resets/")?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[tokio::test]
async fn a_changed_password_ends_every_other_session_and_a_retry_gets_the_first_answer() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let (elsewhere, colleague) =
        (house.member("mona@example.com").await, house.colleague(&owner, "o@example.com", Role::User).await);
    let request = change_request(PASSWORD);
    for _ in 0..2 {
        house.credentials().change_password(owner.says(request.clone())).await.unwrap();
    }
    assert!(house.is_alive(&owner).await && house.is_alive(&colleague).await);
    assert!(!house.is_alive(&elsewhere).await);
    assert_eq!(house.revoked("REVOCATION_SUBJECT_SESSION").await, 1);
    let refusal = refusal(house.sign_in("mona@example.com", PASSWORD).await);
    assert_eq!(refusal, refused(Code::Unauthenticated, "SIGN_IN_REFUSED"));
    house.sign_in("mona@example.com", NEW).await.unwrap();
}

#[tokio::test]
async fn with_a_stolen_token_nobody_guesses_the_current_password() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let wrong = async || {
        let request = owner.says(change_request("not her password"));
        refusal(house.credentials().change_password(request).await)
    };
    for _ in 0..10 {
        assert_eq!(wrong().await, refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    }
    assert_eq!(wrong().await, refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"));
    house.member("mona@example.com").await;
}

#[tokio::test]
async fn a_confirmation_that_is_not_the_new_password_is_named_before_any_password_is_looked_at() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let path = Path::of("ChangePassword");
    let _recording = tracing::subscriber::set_default(tracing_subscriber::registry().with(path.clone()));
    let told = async |confirmation: String, language: &str| {
        let request =
            ChangePasswordRequest { new_password_confirmation: confirmation, ..change_request("not her password") };
        let mut request = owner.says(request);
        request.metadata_mut().insert("accept-language", language.parse().unwrap());
        let status = house.credentials().change_password(request).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["new_password_confirmation"]);
        status.get_details_bad_request().unwrap().field_violations.remove(0)
    };
    assert_eq!(told(String::new(), "en").await.reason, "FIELD_REQUIRED");
    let mut texts = HashSet::new();
    // More often than a wrong password may be tried.
    for language in ["ar", "en", "es", "pt"].repeat(3) {
        for other in [format!("{NEW} "), NEW.to_uppercase()] {
            let violation = told(other, language).await;
            assert_eq!(violation.reason, "FIELD_CONFIRMATION");
            texts.insert(violation.localized_message.unwrap().message);
        }
    }
    assert_eq!(texts.len(), 4, "{texts:?}");
    let steps = path.taken();
    assert!(!steps.is_empty() && !steps.iter().any(|step| step == "argon2"), "{steps:?}");
    house.credentials().change_password(owner.says(change_request(PASSWORD))).await.unwrap();
    assert_eq!(path.taken().iter().filter(|step| *step == "argon2").count(), 2, "the old one and the new one");
}

#[tokio::test]
async fn of_many_changes_at_once_from_one_password_one_counts() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let answers = join_all((0..8).map(|index| {
        let new_password = format!("{NEW} {index}");
        let new_password_confirmation = new_password.clone();
        let request = ChangePasswordRequest { new_password, new_password_confirmation, ..change_request(PASSWORD) };
        let request = owner.says(request);
        let mut credentials = house.credentials();
        tokio::spawn(async move { credentials.change_password(request).await.is_ok() })
    }))
    .await;
    let good: Vec<_> = (0..8).filter(|index| *answers[*index].as_ref().unwrap()).collect();
    assert_eq!(good.len(), 1);
    house.sign_in("mona@example.com", &format!("{NEW} {}", good[0])).await.unwrap();
}

#[tokio::test]
async fn a_reset_by_e_mail_works_once_ends_every_session_and_opens_a_closed_address() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let elsewhere = house.member("mona@example.com").await;
    for _ in 0..100 {
        house.sign_in("mona@example.com", "not her password").await.unwrap_err();
        clock.advance(Duration::from_hours(1));
    }
    let closed = refused(Code::FailedPrecondition, "PASSWORD_RESET_NEEDED");
    assert_eq!(refusal(house.sign_in("mona@example.com", PASSWORD).await), closed);
    for _ in 0..2 {
        house.ask_for_reset("Mona@Example.com").await.unwrap();
    }
    let tokens = house.reset_tokens("mona@example.com", 2).await;
    let uses = join_all([&tokens[0], &tokens[1], &tokens[0], &tokens[1]].map(|token| house.reset(token))).await;
    assert_eq!(uses.iter().filter(|used| used.is_ok()).count(), 1);
    for used in uses.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(used), reset_not_found());
    }
    assert!(!house.is_alive(&owner).await && !house.is_alive(&elsewhere).await);
    assert_eq!(house.revoked("REVOCATION_SUBJECT_USER").await, 1);
    let told = house.count("feed_events where kind = 'diwan.identity.v1.SessionEnded'").await;
    assert_eq!(told, 2, "the feed tells of each");
    house.sign_in("mona@example.com", NEW).await.unwrap();
}

#[tokio::test]
async fn a_link_is_good_for_an_hour_and_not_after_another_way_to_a_new_password() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    house.owner("mona@example.com").await;
    house.ask_for_reset("mona@example.com").await.unwrap();
    let old = house.reset_tokens("mona@example.com", 1).await.remove(0);
    clock.advance(Duration::from_hours(1));
    assert_eq!(refusal(house.reset(&old).await), reset_not_found());
    house.ask_for_reset("mona@example.com").await.unwrap();
    let tokens = house.reset_tokens("mona@example.com", 2).await;
    let owner = house.member("mona@example.com").await;
    house.credentials().change_password(owner.says(change_request(PASSWORD))).await.unwrap();
    for token in &tokens {
        assert_eq!(refusal(house.reset(token).await), reset_not_found());
    }
}

#[tokio::test]
async fn a_link_from_before_a_deactivation_is_dead_after_the_reactivation() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.ask_for_reset("omar@example.com").await.unwrap();
    let link = house.reset_tokens("omar@example.com", 1).await.remove(0);
    house.deactivate(&owner, &agent.user.id).await.unwrap();
    assert_eq!(refusal(house.reset(&link).await), reset_not_found());
    house.reactivate(&owner, &agent.user.id).await.unwrap();
    assert_eq!(refusal(house.reset(&link).await), reset_not_found());
}

#[tokio::test]
async fn nobody_learns_from_a_reset_whether_an_address_is_known() {
    let house = house_at(&clock(), Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let gone = house.colleague(&owner, "gone@example.com", Role::User).await;
    house.deactivate(&owner, &gone.user.id).await.unwrap();
    for email in ["nobody@example.com", "gone@example.com"] {
        house.ask_for_reset(email).await.unwrap();
    }
    house.ask_for_reset("mona@example.com").await.unwrap();
    house.reset_tokens("mona@example.com", 1).await;
    eventually("the queue is empty", LIMIT, async || (house.count("jobs").await == 0).then_some(())).await;
    assert_eq!(house.count("password_resets").await, 1);
    assert!(house.mails("gone@example.com").iter().all(|(_, text)| token_in(text).is_none()));
    let mut stories = Vec::new();
    for email in ["other@example.com", "mona2@example.com"] {
        if email.starts_with("mona2") {
            house.owner(email).await;
        }
        let mut story = Vec::new();
        for _ in 0..11 {
            story.push(house.ask_for_reset(email).await.map_err(|status| (status.code(), status.details().to_vec())));
        }
        stories.push(story);
    }
    assert!(stories[0][9].is_ok() && stories[0][10].is_err());
    assert_eq!(stories[0], stories[1]);
}

#[tokio::test]
async fn a_person_sees_and_ends_his_own_sessions_and_nobody_elses() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let request = diwan_proto::identity::v1::SignInRequest {
        email: "mona@example.com".into(),
        password: PASSWORD.into(),
        ..Default::default()
    };
    let mut request = from("192.0.2.7", request);
    request.metadata_mut().insert("user-agent", "Diwan for the desk".parse().unwrap());
    let answer = house.sessions().sign_in(request).await.unwrap().into_inner();
    let desk = Member { user: answer.user.unwrap(), tokens: answer.tokens.unwrap() };
    let colleague = house.colleague(&owner, "o@example.com", Role::User).await;
    let sessions = house.own_sessions(&owner).await;
    assert_eq!(sessions.iter().map(|session| session.current).collect::<Vec<_>>(), [false, true]);
    let of_desk = sessions[0].clone();
    assert!(of_desk.user_agent.starts_with("Diwan for the desk"), "{}", of_desk.user_agent);
    assert_eq!(of_desk.address, "192.0.2.7");
    assert!(of_desk.created_at == of_desk.last_used_at && of_desk.created_at.is_some());
    let revoke = async |member: &Member, session_id: &str| {
        let request = RevokeSessionRequest { request_id: ids::new_id().to_string(), session_id: session_id.into() };
        house.credentials().revoke_session(member.says(request)).await
    };
    let unknown = refusal(revoke(&colleague, &ids::new_id().to_string()).await);
    assert_eq!(unknown, refused(Code::NotFound, "SESSION_NOT_FOUND"));
    assert_eq!(refusal(revoke(&colleague, &of_desk.id).await), unknown);
    for _ in 0..2 {
        revoke(&owner, &of_desk.id).await.unwrap();
    }
    assert!(!house.is_alive(&desk).await);
    assert_eq!(house.revoked("REVOCATION_SUBJECT_SESSION").await, 1);
    assert_eq!(house.own_sessions(&owner).await.len(), 1);
    house.users().get_user(owner.says(GetUserRequest::default())).await.unwrap();
}

#[tokio::test]
async fn a_session_ends_after_thirty_idle_days_and_after_ninety_in_any_case() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    house.owner("mona@example.com").await;
    let day = Duration::from_hours(24);
    let idle = house.member("mona@example.com").await;
    let mut busy = house.member("mona@example.com").await;
    for _ in 0..4 {
        clock.advance(22 * day);
        let request = RefreshSessionRequest { refresh_token: busy.tokens.refresh_token.clone() };
        busy.tokens = house.sessions().refresh_session(request).await.unwrap().into_inner().tokens.unwrap();
    }
    assert!(!house.is_alive(&idle).await);
    clock.advance(2 * day);
    assert!(!house.is_alive(&busy).await, "ninety days");
}
