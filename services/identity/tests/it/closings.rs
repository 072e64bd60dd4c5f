//! How an account ends, and how it does not.

use std::{sync::Arc, time::Duration};

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        Account, AccountDeleted, AccountState, AddPrincipalCredentialRequest, CloseAccountRequest,
        CreateServicePrincipalRequest, ExchangeCredentialRequest, GetAccountRequest, RefreshSessionRequest,
        RevocationSubject, UndoClosingRequest, WatchRevocationsRequest, closing_service_client::ClosingServiceClient,
        principal_token_service_client::PrincipalTokenServiceClient,
        service_principal_service_client::ServicePrincipalServiceClient,
    },
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use jiff::Timestamp;
use prost::Name as _;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::house::{House, LIMIT, Member, PASSWORD, invite_request, refusal, refused, sign_up_request};
use crate::profiles::png;

const PATIENCE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_hours(24);

impl House {
    fn closings(&self) -> ClosingServiceClient<Transport> {
        ClosingServiceClient::new(self.world.to("identity"))
    }

    async fn close(&self, member: &Member, password: &str) -> Result<Account, Status> {
        let request = CloseAccountRequest { request_id: ids::new_id().to_string(), password: password.into() };
        Ok(self.closings().close_account(member.says(request)).await?.into_inner().account.unwrap())
    }

    async fn undo(&self, member: &Member) -> Result<Account, Status> {
        let request = UndoClosingRequest { request_id: ids::new_id().to_string() };
        Ok(self.closings().undo_closing(member.says(request)).await?.into_inner().account.unwrap())
    }

    /// A secret of a new service principal that an owner makes.
    async fn principal_of(&self, owner: &Member) -> String {
        let mut principals = ServicePrincipalServiceClient::new(self.world.to("identity"));
        let create = CreateServicePrincipalRequest {
            request_id: ids::new_id().to_string(),
            name: "Bridge".into(),
            scopes: vec!["diwan.identity.v1.UserService/ListUsers".into()],
            ..CreateServicePrincipalRequest::default()
        };
        let created = principals.create_service_principal(owner.says(create)).await.unwrap().into_inner();
        let add = AddPrincipalCredentialRequest {
            request_id: ids::new_id().to_string(),
            principal_id: created.principal.unwrap().id,
            password: PASSWORD.into(),
            ..AddPrincipalCredentialRequest::default()
        };
        principals.add_principal_credential(owner.says(add)).await.unwrap().into_inner().secret
    }

    async fn exchanges(&self, credential: &str) -> Result<(), Status> {
        let request = ExchangeCredentialRequest { credential: credential.into(), ..Default::default() };
        let mut tokens = PrincipalTokenServiceClient::new(self.world.to("identity"));
        tokens.exchange_credential(request).await.map(drop)
    }

    async fn subjects(&self, email: &str, count: usize) -> Vec<String> {
        eventually("the e-mails arrive", LIMIT, async || {
            let subjects: Vec<_> = self.mails(email).into_iter().map(|(subject, _)| subject).collect();
            Some(subjects).filter(|subjects| subjects.len() >= count)
        })
        .await
    }
}

/// A house on a clock that the test moves.
async fn house() -> (House, MockClock) {
    let clock = MockClock::at("2026-03-01T08:00:00Z".parse().unwrap());
    (House::at(Arc::new(clock.clone())).await, clock)
}

#[tokio::test]
async fn only_the_owner_closes_and_only_with_his_password() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED");
    assert_eq!(refusal(house.close(&admin, PASSWORD).await), denied);
    assert_eq!(refusal(house.undo(&admin).await), denied);
    assert_eq!(
        refusal(house.close(&owner, "another password").await),
        refused(Code::PermissionDenied, "PASSWORD_WRONG")
    );
    assert_eq!(refusal(house.undo(&owner).await), refused(Code::FailedPrecondition, "ACCOUNT_NOT_CLOSING"));
    let account = house.accounts().get_account(admin.says(GetAccountRequest {})).await.unwrap().into_inner();
    assert_eq!(account.account.unwrap().state(), AccountState::Active);
}

#[tokio::test]
async fn a_closing_account_lets_only_its_owner_in_and_he_can_keep_it() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let mut stream = house.revocations().watch_revocations(WatchRevocationsRequest {}).await.unwrap().into_inner();
    let closing = house.close(&owner, PASSWORD).await.unwrap();
    assert_eq!((closing.state(), closing.version), (AccountState::Closing, 2));
    let days = closing.closes_at.unwrap().seconds - house.world.clock.now().as_second();
    assert!((days - 30 * 86_400).abs() < 60, "{days}");
    let revocation = loop {
        let message = timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap();
        if let Some(revocation) = message.revocations.into_iter().next() {
            break revocation;
        }
    };
    assert_eq!((revocation.subject(), &revocation.subject_id), (RevocationSubject::Account, &closing.id));
    house.world.revocations.learn(&[revocation], Timestamp::MAX);
    // Whoever is in is out, and does not come back.
    let refresh = async |member: &Member| {
        let request = RefreshSessionRequest { refresh_token: member.tokens.refresh_token.clone() };
        house.sessions().refresh_session(request).await
    };
    assert_eq!(
        refusal(house.accounts().get_account(agent.says(GetAccountRequest {})).await),
        refused(Code::Unauthenticated, "UNAUTHENTICATED")
    );
    assert_eq!(refusal(refresh(&agent).await), refused(Code::Unauthenticated, "REFRESH_REFUSED"));
    assert_eq!(
        refusal(house.sign_in("omar@example.com", PASSWORD).await),
        refused(Code::FailedPrecondition, "ACCOUNT_CLOSING")
    );
    assert_eq!(
        refusal(house.sign_in("omar@example.com", "another password").await),
        refused(Code::Unauthenticated, "SIGN_IN_REFUSED"),
        "who does not know the password learns nothing"
    );
    // The owner's session goes on, and he can sign in anew.
    let tokens = refresh(&owner).await.unwrap().into_inner().tokens.unwrap();
    let owner = Member { user: owner.user, tokens };
    let again = house.close(&owner, PASSWORD).await.unwrap();
    assert_eq!((again.closes_at, again.version), (closing.closes_at, 2), "closing again does not put the end off");
    let owner = house.member(&owner.user.email).await;
    let kept = house.undo(&owner).await.unwrap();
    assert_eq!((kept.state(), kept.closes_at, kept.version), (AccountState::Active, None, 3));
    assert_eq!(refusal(house.undo(&owner).await), refused(Code::FailedPrecondition, "ACCOUNT_NOT_CLOSING"));
    house.member("omar@example.com").await;
}

#[tokio::test]
async fn at_the_end_of_the_grace_period_seats_and_addresses_are_free_and_nobody_gets_in() {
    let (house, clock) = house().await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "omar@example.com", Role::User).await;
    let team = house.others.add_team(&owner.user.account_id);
    let invite = invite_request("invited@example.com", &team);
    house.users().invite_user(owner.says(invite)).await.unwrap();
    let invitation = house.invitation_token("invited@example.com").await;
    let before = house.mails("mona@example.com").len();
    house.close(&owner, PASSWORD).await.unwrap();
    let begun = house.subjects("mona@example.com", before + 1).await;
    clock.advance(DAY * 23 + Duration::from_mins(1));
    let soon = house.subjects("mona@example.com", before + 2).await;
    assert!(begun.iter().all(|subject| soon.contains(subject)));
    assert!(house.sign_in("mona@example.com", PASSWORD).await.is_ok(), "the owner gets in to the last day");
    clock.advance(DAY * 7);
    let mut done = house.subjects("mona@example.com", before + 3).await;
    done.sort();
    done.dedup();
    assert_eq!(done.len(), before + 3, "each stage has its own words, told once: {done:?}");
    eventually("every seat is free", LIMIT, async || house.others.told().seats.is_empty()).await;
    for email in ["mona@example.com", "omar@example.com"] {
        assert_eq!(refusal(house.sign_in(email, PASSWORD).await), refused(Code::Unauthenticated, "SIGN_IN_REFUSED"));
    }
    assert_eq!(refusal(house.accept(&invitation).await).0, Code::NotFound);
    assert_eq!(house.count("email_addresses").await, 0);
    assert_eq!(house.count("sessions where ended_at is null").await, 0);
    eventually("the open invitation has ended", LIMIT, async || {
        house.count("users where state = 'USER_STATE_INVITED'").await == 0
    })
    .await;
    // The address belongs to whoever wants it now.
    house.accounts().sign_up(sign_up_request("omar@example.com")).await.unwrap();
    house.member("omar@example.com").await;
    eventually("no job is left", LIMIT, async || house.count("jobs").await == 0).await;
    assert_eq!(house.others.told().seats.len(), 1, "only the new account's owner holds one");
}

#[tokio::test]
async fn who_has_kept_his_account_is_not_reminded_and_loses_nothing() {
    let (house, clock) = house().await;
    let owner = house.owner("mona@example.com").await;
    house.close(&owner, PASSWORD).await.unwrap();
    house.undo(&owner).await.unwrap();
    // Another one is closed in the same moment: then the worker has looked.
    let other = house.owner("else@example.com").await;
    house.close(&other, PASSWORD).await.unwrap();
    let mails = house.mails("mona@example.com").len();
    clock.advance(DAY * 40);
    eventually("the other account is closed", LIMIT, async || {
        house.count("accounts where state = 'ACCOUNT_STATE_CLOSED'").await == 1
    })
    .await;
    house.member("mona@example.com").await;
    house.subjects("else@example.com", 3).await;
    assert_eq!(house.mails("mona@example.com").len(), mails);
}

#[tokio::test]
async fn who_signs_in_while_the_account_begins_to_close_is_refused_or_put_out() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "omar@example.com", Role::User).await;
    let sign_ins = (0..8).map(|_| house.sign_in("omar@example.com", PASSWORD));
    let (closed, signed_in) = futures::join!(house.close(&owner, PASSWORD), futures::future::join_all(sign_ins));
    closed.unwrap();
    for answer in signed_in.into_iter().flatten() {
        let request = RefreshSessionRequest { refresh_token: answer.tokens.unwrap().refresh_token };
        let refreshed = house.sessions().refresh_session(request).await;
        assert_eq!(refusal(refreshed), refused(Code::Unauthenticated, "REFRESH_REFUSED"));
    }
    let open = house.count("sessions s join users u using (account_id) where u.id = s.user_id and u.role <> 'ROLE_OWNER' and s.ended_at is null");
    assert_eq!(open.await, 0);
}

#[tokio::test]
async fn service_principals_get_no_token_for_an_account_that_closes_unless_it_is_kept() {
    let (house, clock) = house().await;
    let owner = house.owner("mona@example.com").await;
    let secret = house.principal_of(&owner).await;
    house.exchanges(&secret).await.unwrap();
    house.close(&owner, PASSWORD).await.unwrap();
    assert_eq!(refusal(house.exchanges(&secret).await), refused(Code::NotFound, "ACCOUNT_NOT_FOUND"));
    house.undo(&house.member("mona@example.com").await).await.unwrap();
    house.exchanges(&secret).await.unwrap();
    house.close(&house.member("mona@example.com").await, PASSWORD).await.unwrap();
    clock.advance(DAY * 31);
    eventually("the account is closed", LIMIT, async || {
        house.count("accounts where state = 'ACCOUNT_STATE_CLOSED'").await == 1
    })
    .await;
    assert_eq!(refusal(house.exchanges(&secret).await), refused(Code::NotFound, "ACCOUNT_NOT_FOUND"));
}

#[tokio::test]
async fn an_account_that_was_closed_long_enough_is_deleted_everywhere_and_nothing_of_it_comes_back() {
    let (house, clock) = house().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    house.principal_of(&owner).await;
    house.set_picture(&agent, png(40, 7)).await.unwrap();
    let other = house.owner("else@example.com").await;
    let (account, kept) = (owner.user.account_id.clone(), other.user.account_id.clone());
    let of = |table: &str, account: &str| format!("{table} t where t::text like '%{account}%'");
    eventually("the audit log knows of it", PATIENCE, async || house.count(&of("audit_entries", &account)).await > 0)
        .await;
    house.close(&owner, PASSWORD).await.unwrap();
    clock.advance(DAY * 31);
    eventually("the account is closed", PATIENCE, async || {
        house.count("accounts where state = 'ACCOUNT_STATE_CLOSED'").await == 1
    })
    .await;
    clock.advance(DAY * 29);
    house.member("else@example.com").await;
    assert_eq!(house.count(&of("users", &account)).await, 2, "not before the time is over");
    assert_eq!(house.blobs("pictures", &account), 1);
    let users = house.count(&of("users", &kept)).await;
    clock.advance(DAY * 2);
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public' order by 1")
            .fetch_all(&house.database.pool)
            .await
            .unwrap();
    let left = async || {
        let mut left = Vec::new();
        for table in &tables {
            if house.count(&of(table, &account)).await > 0 {
                left.push(table.clone());
            }
        }
        left
    };
    eventually("every service is told", PATIENCE, async || house.count("account_deletions").await == 1).await;
    eventually("everything is deleted", PATIENCE, async || {
        clock.advance(Duration::from_secs(10));
        house.count("account_deletions where finished_at is not null").await == 1
    })
    .await;
    assert_eq!(left().await, ["account_deletions", "audit_heads", "feed_events"]);
    let event = format!("feed_events where account_id = '{account}' and kind = '{}'", AccountDeleted::full_name());
    assert_eq!((house.count(&event).await, house.count(&of("feed_events", &account)).await), (1, 1));
    assert_eq!(house.blobs("pictures", &account), 0);
    assert_eq!(house.count(&of("users", &kept)).await, users);
    house.member("else@example.com").await;
    // What another service tells late of it is not written down, and what is written all the same goes with the next look.
    let late = format!(
        "insert into answers (account_id, request_id, method, digest, answer, created_at) values ('{account}', 'x', 'x', '', '', now())"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(late)).execute(&house.database.pool).await.unwrap();
    clock.advance(DAY * 31);
    eventually("what came late is deleted", PATIENCE, async || {
        clock.advance(Duration::from_secs(10));
        house.count(&of("answers", &account)).await == 0
    })
    .await;
}
