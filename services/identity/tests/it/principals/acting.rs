//! Service principals that act for a user, and the owner whom nobody else lets them act for.

use super::*;

#[tokio::test]
async fn one_that_acts_for_a_user_is_that_user_until_he_is_taken_off_the_list() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let principal = house.principal(&owner, &[USERS, "diwan.identity.v1.RoleService"]).await;
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    let not_listed = house.exchange(&secret, "", &agent.user.id).await;
    assert_eq!(refusal(not_listed), refused(Code::NotFound, "USER_NOT_FOUND"));
    let listed =
        house.principals().set_acting_for(owner.says(act_for(&principal.id, &[&agent.user.id]))).await.unwrap();
    assert_eq!(listed.into_inner().principal.unwrap().acting_for[0].user_ids, std::slice::from_ref(&agent.user.id));
    let token = house.exchange(&secret, "", &agent.user.id).await.unwrap().access_token;
    let himself = house.users().get_user(bearing(&token, GetUserRequest::default())).await.unwrap().into_inner();
    assert_eq!(himself.user.unwrap().id, agent.user.id);
    let invite = crate::house::invite_request("new@example.com", &id());
    let invited = house.users().invite_user(bearing(&token, invite)).await;
    assert_eq!(refusal(invited), refused(Code::PermissionDenied, "PERMISSION_DENIED"), "he may not, so it may not");
    let password = ChangePasswordRequest {
        request_id: id(),
        current_password: PASSWORD.into(),
        new_password: "another horse battery staple".into(),
        new_password_confirmation: "another horse battery staple".into(),
    };
    let changed =
        CredentialServiceClient::new(house.world.to("identity")).change_password(bearing(&token, password)).await;
    assert_eq!(refusal(changed), refused(Code::PermissionDenied, "PERMISSION_DENIED"), "that is his alone");

    house.principals().set_acting_for(owner.says(act_for(&principal.id, &[]))).await.unwrap();
    house.learn_epoch(&principal.id, 2).await;
    let after = house.users().get_user(bearing(&token, GetUserRequest::default())).await;
    assert_eq!(after.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(house.exchange(&secret, "", &agent.user.id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_deactivated_user_takes_the_tokens_of_who_acts_for_him_along() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let principal = house.principal(&owner, &[USERS]).await;
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    house.principals().set_acting_for(owner.says(act_for(&principal.id, &[&agent.user.id]))).await.unwrap();
    let token = house.exchange(&secret, "", &agent.user.id).await.unwrap().access_token;
    house.deactivate(&owner, &agent.user.id).await.unwrap();
    house.learn_epoch(&agent.user.id, 1).await;
    let after = house.users().get_user(bearing(&token, GetUserRequest::default())).await;
    assert_eq!(after.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(refusal(house.exchange(&secret, "", &agent.user.id).await), refused(Code::NotFound, "USER_NOT_FOUND"));
}

#[tokio::test]
async fn nobody_but_the_owner_lets_a_principal_act_for_the_owner() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    let principal = house.principal(&admin, &[USERS]).await;
    let secret = house.add_secret(&admin, &principal.id).await.secret;
    let protected = house.principals().set_acting_for(admin.says(act_for(&principal.id, &[&owner.user.id]))).await;
    assert_eq!(refusal(protected), refused(Code::FailedPrecondition, "OWNER_IS_PROTECTED"));
    // An admin who becomes the owner later has to say so himself, too.
    house.principals().set_acting_for(owner.says(act_for(&principal.id, &[&admin.user.id]))).await.unwrap();
    assert!(house.exchange(&secret, "", &admin.user.id).await.is_ok());
    let mut ownership = OwnershipServiceClient::new(house.world.to("identity"));
    let offer = OfferOwnershipRequest { request_id: id(), user_id: admin.user.id.clone(), password: PASSWORD.into() };
    ownership.offer_ownership(owner.says(offer)).await.unwrap();
    ownership.accept_ownership(admin.says(AcceptOwnershipRequest { request_id: id() })).await.unwrap();
    assert_eq!(house.exchange(&secret, "", &admin.user.id).await.unwrap_err().code(), Code::NotFound);
    let new_owner = house.member("omar@example.com").await;
    house.principals().set_acting_for(new_owner.says(act_for(&principal.id, &[&admin.user.id]))).await.unwrap();
    assert!(house.exchange(&secret, "", &admin.user.id).await.is_ok());
}

#[tokio::test]
async fn an_admin_gives_nothing_to_a_principal_that_acts_for_the_owner() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let credential = house.add_secret(&owner, &principal.id).await.credential.unwrap().id;
    let mut client = house.principals();
    client.set_acting_for(owner.says(act_for(&principal.id, &[&owner.user.id]))).await.unwrap();
    let soon = SystemClock.now() + Duration::from_hours(1);
    let expire = |at: Option<Timestamp>| ExpirePrincipalCredentialRequest {
        request_id: id(),
        principal_id: principal.id.clone(),
        credential_id: credential.clone(),
        expires_at: at.map(|at| std::time::SystemTime::from(at).into()),
    };
    let scopes = |scopes: &[&str]| UpdateServicePrincipalRequest {
        request_id: id(),
        principal_id: principal.id.clone(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["scopes".to_owned()] }),
        ..UpdateServicePrincipalRequest::default()
    };
    let enable = || EnableServicePrincipalRequest { request_id: id(), principal_id: principal.id.clone() };
    let disable = DisableServicePrincipalRequest { request_id: id(), principal_id: principal.id.clone() };
    let protected = refused(Code::FailedPrecondition, "OWNER_IS_PROTECTED");

    let added = client.add_principal_credential(admin.says(secret_for(&principal.id))).await;
    assert_eq!(refusal(added), protected);
    let widened = client.update_service_principal(admin.says(scopes(&[LIST_USERS, USERS]))).await;
    assert_eq!(refusal(widened), protected);
    // What takes something away is anybody's who manages principals, and only the owner gives it back.
    client.expire_principal_credential(admin.says(expire(Some(soon)))).await.unwrap();
    for later in [Some(soon + Duration::from_hours(1)), None] {
        let prolonged = client.expire_principal_credential(admin.says(expire(later))).await;
        assert_eq!(refusal(prolonged), protected);
    }
    client.disable_service_principal(admin.says(disable)).await.unwrap();
    assert_eq!(refusal(client.enable_service_principal(admin.says(enable())).await), protected);
    client.enable_service_principal(owner.says(enable())).await.unwrap();
    client.update_service_principal(owner.says(scopes(&[LIST_USERS, USERS]))).await.unwrap();
    client.expire_principal_credential(owner.says(expire(None))).await.unwrap();
    house.add_secret(&owner, &principal.id).await;
    client.set_acting_for(admin.says(act_for(&principal.id, &[]))).await.unwrap();
    house.add_secret(&admin, &principal.id).await;
}

#[tokio::test]
async fn who_becomes_the_owner_says_again_what_acts_for_him() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    let principal = house.principal(&admin, &[USERS]).await;
    house.principals().set_acting_for(admin.says(act_for(&principal.id, &[&admin.user.id]))).await.unwrap();
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    assert!(house.exchange(&secret, "", &admin.user.id).await.is_ok());
    let mut ownership = OwnershipServiceClient::new(house.world.to("identity"));
    let offer = OfferOwnershipRequest { request_id: id(), user_id: admin.user.id.clone(), password: PASSWORD.into() };
    ownership.offer_ownership(owner.says(offer)).await.unwrap();
    ownership.accept_ownership(admin.says(AcceptOwnershipRequest { request_id: id() })).await.unwrap();
    let refused = house.exchange(&secret, "", &admin.user.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "others could add credentials until now");
}
