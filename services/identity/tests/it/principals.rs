//! Service principals: made, let in, cut off.

mod acting;
mod bounds;
mod credentials;
mod passwords;

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AcceptOwnershipRequest, AddPrincipalCredentialRequest, AddPrincipalCredentialResponse, ChangePasswordRequest,
        CreateServicePrincipalRequest, DisableServicePrincipalRequest, EnableServicePrincipalRequest,
        ExchangeCredentialRequest, ExchangeCredentialResponse, ExpirePrincipalCredentialRequest, GetAccountRequest,
        GetServicePrincipalRequest, GetUserRequest, ListServicePrincipalsRequest, ListUsersRequest,
        OfferOwnershipRequest, RemovePrincipalCredentialRequest, ServicePrincipal, SetActingForRequest,
        UpdateServicePrincipalRequest, credential_service_client::CredentialServiceClient,
        ownership_service_client::OwnershipServiceClient, principal_token_service_client::PrincipalTokenServiceClient,
        service_principal_service_client::ServicePrincipalServiceClient,
    },
};
use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use futures::future::join_all;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::{
    house::{House, LIMIT, Member, PASSWORD, bearing, refusal, refused},
    throttle::{clock, from, house_at},
};

const LIST_USERS: &str = "diwan.identity.v1.UserService/ListUsers";
const USERS: &str = "diwan.identity.v1.UserService";

fn id() -> String {
    ids::new_id().to_string()
}

fn create(scopes: &[&str]) -> CreateServicePrincipalRequest {
    CreateServicePrincipalRequest {
        request_id: id(),
        name: "Chat bridge".into(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..CreateServicePrincipalRequest::default()
    }
}

fn secret_for(principal: &str) -> AddPrincipalCredentialRequest {
    let (request_id, password) = (id(), PASSWORD.into());
    AddPrincipalCredentialRequest { request_id, principal_id: principal.into(), password, ..Default::default() }
}

pub fn act_for(principal: &str, users: &[&str]) -> SetActingForRequest {
    SetActingForRequest {
        request_id: id(),
        principal_id: principal.into(),
        account_id: String::new(),
        user_ids: users.iter().map(|user| (*user).to_owned()).collect(),
        password: PASSWORD.into(),
    }
}

fn credential_refused() -> (Code, String) {
    refused(Code::Unauthenticated, "CREDENTIAL_REFUSED")
}

impl House {
    pub fn principals(&self) -> ServicePrincipalServiceClient<Transport> {
        ServicePrincipalServiceClient::new(self.world.to("identity"))
    }

    pub async fn principal(&self, by: &Member, scopes: &[&str]) -> ServicePrincipal {
        let created = self.principals().create_service_principal(by.says(create(scopes))).await;
        created.unwrap().into_inner().principal.unwrap()
    }

    pub async fn add_secret(&self, by: &Member, principal: &str) -> AddPrincipalCredentialResponse {
        self.principals().add_principal_credential(by.says(secret_for(principal))).await.unwrap().into_inner()
    }

    pub async fn exchange(
        &self,
        credential: &str,
        account: &str,
        user: &str,
    ) -> Result<ExchangeCredentialResponse, Status> {
        let request = ExchangeCredentialRequest {
            credential: credential.into(),
            account_id: account.into(),
            user_id: user.into(),
        };
        let mut client = PrincipalTokenServiceClient::new(self.world.to("identity"));
        Ok(client.exchange_credential(request).await?.into_inner())
    }

    async fn token(&self, credential: &str) -> String {
        self.exchange(credential, "", "").await.unwrap().access_token
    }

    async fn lists_users(&self, token: &str) -> Result<usize, Status> {
        Ok(self.users().list_users(bearing(token, ListUsersRequest::default())).await?.into_inner().users.len())
    }

    fn by_operator<M>(&self, message: M) -> Request<M> {
        self.world.operator("principals.write", message)
    }
}

#[tokio::test]
async fn a_secret_lets_a_principal_do_what_its_scopes_say_in_its_own_account_and_nothing_else() {
    let house = House::new().await;
    let (owner, other) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    assert_eq!(principal.account_id, owner.user.account_id);
    let added = house.add_secret(&owner, &principal.id).await;
    assert!(added.secret.starts_with("diwan_sp_") && added.secret.ends_with(&added.credential.unwrap().secret_hint));
    let answer = house.exchange(&added.secret, "", "").await.unwrap();
    assert_eq!((&answer.principal_id, &answer.account_id), (&principal.id, &owner.user.account_id));
    assert_eq!(house.lists_users(&answer.access_token).await.unwrap(), 1);

    let account = house.accounts().get_account(bearing(&answer.access_token, GetAccountRequest {})).await;
    assert_eq!(refusal(account), refused(Code::PermissionDenied, "SCOPE_MISSING"));
    let foreign = house.exchange(&added.secret, &other.user.account_id, "").await;
    let unknown = house.exchange(&added.secret, &id(), "").await;
    for answer in [foreign, unknown] {
        assert_eq!(refusal(answer), refused(Code::NotFound, "ACCOUNT_NOT_FOUND"));
    }
    let stored: Vec<u8> = sqlx::query_scalar("select secret_hash from principal_credentials")
        .fetch_one(&house.database.pool)
        .await
        .unwrap();
    assert_eq!(stored.len(), 32);
    let answers: Vec<Vec<u8>> =
        sqlx::query_scalar("select answer from answers").fetch_all(&house.database.pool).await.unwrap();
    let kept = answers.iter().any(|answer| String::from_utf8_lossy(answer).contains(&added.secret));
    assert!(!kept, "the secret is shown once and stored nowhere");
}

#[tokio::test]
async fn a_disabled_principal_is_out_and_an_enabled_one_in_again() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    let token = house.token(&secret).await;
    let disable = DisableServicePrincipalRequest { request_id: id(), principal_id: principal.id.clone() };
    let disabled =
        house.principals().disable_service_principal(owner.says(disable.clone())).await.unwrap().into_inner();
    house.learn_epoch(&principal.id, 1).await;
    assert_eq!(house.lists_users(&token).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(refusal(house.exchange(&secret, "", "").await), credential_refused());
    let again = DisableServicePrincipalRequest { request_id: id(), ..disable };
    let again = house.principals().disable_service_principal(owner.says(again)).await.unwrap().into_inner();
    assert_eq!(again, disabled);
    let enable = EnableServicePrincipalRequest { request_id: id(), principal_id: principal.id.clone() };
    house.principals().enable_service_principal(owner.says(enable)).await.unwrap();
    assert_eq!(house.lists_users(&token).await.unwrap_err().code(), Code::Unauthenticated, "old tokens stay refused");
    assert_eq!(house.lists_users(&house.token(&secret).await).await.unwrap(), 1);
}

#[tokio::test]
async fn changed_scopes_hold_for_the_next_token_and_end_the_old_ones() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[USERS]).await;
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    let token = house.token(&secret).await;
    let update = |paths: &[&str]| UpdateServicePrincipalRequest {
        request_id: id(),
        principal_id: principal.id.clone(),
        name: "Renamed".into(),
        scopes: vec!["diwan.identity.v1.UserService/GetUser".into()],
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        ..UpdateServicePrincipalRequest::default()
    };
    let renamed =
        house.principals().update_service_principal(owner.says(update(&["name"]))).await.unwrap().into_inner();
    assert_eq!(renamed.principal.unwrap().name, "Renamed");
    assert_eq!(house.lists_users(&token).await.unwrap(), 1, "a name cuts nobody off");
    house.principals().update_service_principal(owner.says(update(&["scopes"]))).await.unwrap();
    house.learn_epoch(&principal.id, 1).await;
    assert_eq!(house.lists_users(&token).await.unwrap_err().code(), Code::Unauthenticated);
    let token = house.token(&secret).await;
    assert_eq!(refusal(house.lists_users(&token).await), refused(Code::PermissionDenied, "SCOPE_MISSING"));
    let get = GetUserRequest { user_id: owner.user.id.clone() };
    assert!(house.users().get_user(bearing(&token, get)).await.is_ok());
}

#[tokio::test]
async fn scopes_that_there_are_not_or_that_nobody_may_grant_are_refused_by_name() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let request =
        create(&[LIST_USERS, "diwan.identity.v1.UserService/DropTables", "diwan.billing.v1.SeatService/TakeSeat"]);
    let status = house.principals().create_service_principal(owner.says(request)).await.unwrap_err();
    let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
    let named: Vec<_> = details.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, ["scopes[1]", "scopes[2]"]);
    assert_eq!(house.count("service_principals").await, 0);
}

#[tokio::test]
async fn an_operators_principal_is_for_the_accounts_that_he_names_and_no_admin_sees_it() {
    let house = House::new().await;
    let (one, two) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    let three = house.owner("third@example.com").await;
    let accounts = vec![one.user.account_id.clone(), two.user.account_id.clone()];
    let request = CreateServicePrincipalRequest { account_ids: accounts, ..create(&[LIST_USERS]) };
    let created = house.principals().create_service_principal(house.by_operator(request)).await.unwrap().into_inner();
    let principal = created.principal.unwrap();
    let added = house.principals().add_principal_credential(house.by_operator(secret_for(&principal.id))).await;
    let secret = added.unwrap().into_inner().secret;
    assert_eq!(house.exchange(&secret, "", "").await.unwrap_err().code(), Code::InvalidArgument, "for which of them?");
    for member in [&one, &two] {
        let token = house.exchange(&secret, &member.user.account_id, "").await.unwrap().access_token;
        assert_eq!(house.lists_users(&token).await.unwrap(), 1);
    }
    let foreign = house.exchange(&secret, &three.user.account_id, "").await;
    assert_eq!(refusal(foreign), refused(Code::NotFound, "ACCOUNT_NOT_FOUND"));
    let get = GetServicePrincipalRequest { principal_id: principal.id.clone() };
    let seen = house.principals().get_service_principal(one.says(get)).await;
    assert_eq!(refusal(seen), refused(Code::NotFound, "PRINCIPAL_NOT_FOUND"));
    let unknown = CreateServicePrincipalRequest { account_ids: vec![id()], ..create(&[LIST_USERS]) };
    let unknown = house.principals().create_service_principal(house.by_operator(unknown)).await;
    assert_eq!(refusal(unknown), refused(Code::NotFound, "ACCOUNT_NOT_FOUND"));
    let foreign =
        CreateServicePrincipalRequest { account_ids: vec![two.user.account_id.clone()], ..create(&[LIST_USERS]) };
    let foreign = house.principals().create_service_principal(one.says(foreign)).await;
    assert_eq!(refusal(foreign), refused(Code::NotFound, "ACCOUNT_NOT_FOUND"));
}

#[tokio::test]
async fn another_accounts_principals_are_as_unknown_ones() {
    let house = House::new().await;
    let (owner, other) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let added = house.principals().add_principal_credential(other.says(secret_for(&principal.id))).await;
    assert_eq!(refusal(added), refused(Code::NotFound, "PRINCIPAL_NOT_FOUND"));
    let disable = DisableServicePrincipalRequest { request_id: id(), principal_id: principal.id.clone() };
    let disabled = house.principals().disable_service_principal(other.says(disable)).await;
    assert_eq!(refusal(disabled), refused(Code::NotFound, "PRINCIPAL_NOT_FOUND"));
    let own = house.principal(&other, &[LIST_USERS]).await;
    let acting = house.principals().set_acting_for(other.says(act_for(&own.id, &[&owner.user.id]))).await;
    assert_eq!(refusal(acting), refused(Code::NotFound, "USER_NOT_FOUND"));
    let listed = house.principals().list_service_principals(other.says(ListServicePrincipalsRequest::default())).await;
    let listed: Vec<_> = listed.unwrap().into_inner().principals.into_iter().map(|principal| principal.id).collect();
    assert_eq!(listed, [own.id]);
}
