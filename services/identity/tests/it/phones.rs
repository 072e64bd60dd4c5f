//! The telephone number under which colleagues reach somebody: who sees it, and who changes it.

use diwan_proto::{
    access::v1::Role,
    identity::v1::{AuditEntry, GetUserRequest, InviteUserRequest, ListUsersRequest, Profile, UpdateProfileRequest},
};
use diwan_runtime::ids;
use diwan_testkit::bad_fields;
use prost_types::{FieldMask, Struct, value::Kind};
use tonic::{Code, Request};

use crate::{
    exports::{Data, pages},
    house::{House, Member, PASSWORD, bearing, invite_request, refusal, refused},
    principals::act_for,
};

const TYPED: &str = "+20 (100) 123-45.67";
const PHONE: &str = "+201001234567";
const OTHER: &str = "+351912345678";

fn phone(phone: &str) -> Profile {
    Profile { phone: phone.into(), ..Profile::default() }
}

impl House {
    /// Somebody who was invited with a number and has accepted.
    async fn reachable(&self, owner: &Member, email: &str) -> Member {
        let team = self.others.add_team(&owner.user.account_id);
        let request = InviteUserRequest { phone: TYPED.into(), ..invite_request(email, &team) };
        let invited = self.users().invite_user(owner.says(request)).await.unwrap().into_inner().user.unwrap();
        assert_eq!(invited.phone, PHONE);
        self.accept(&self.invitation_token(email).await).await.unwrap();
        self.member(email).await
    }

    /// The number of `of` that whoever has this token sees, alone and in the list.
    async fn seen(&self, token: &str, of: &Member) -> [String; 2] {
        let one = bearing(token, GetUserRequest { user_id: of.user.id.clone() });
        let one = self.users().get_user(one).await.unwrap().into_inner().user.unwrap();
        let all: Request<_> = bearing(token, ListUsersRequest::default());
        let all = self.users().list_users(all).await.unwrap().into_inner().users;
        [one.phone, all.into_iter().find(|user| user.id == of.user.id).unwrap().phone]
    }
}

fn said(thing: Option<&Struct>) -> Option<&str> {
    match thing?.fields.get("phone")?.kind.as_ref()? {
        Kind::StringValue(phone) => Some(phone),
        _ => None,
    }
}

fn change(entry: &AuditEntry) -> (Option<&str>, Option<&str>) {
    (said(entry.before.as_ref()), said(entry.after.as_ref()))
}

#[tokio::test]
async fn a_number_is_for_himself_for_administrators_and_for_principals_and_no_other_user_sees_it() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.reachable(&owner, "omar@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let user = house.colleague(&owner, "user@example.com", Role::User).await;
    for member in [&owner, &admin, &omar] {
        assert_eq!(house.seen(&member.tokens.access_token, &omar).await, [PHONE, PHONE], "{}", member.user.email);
    }
    assert_eq!(house.seen(&user.tokens.access_token, &omar).await, ["", ""]);
    assert_eq!(omar.user.phone, PHONE, "his sign-in told him");

    let principal = house.principal(&owner, &["diwan.identity.v1.UserService"]).await;
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    house.principals().set_acting_for(owner.says(act_for(&principal.id, &[&user.user.id]))).await.unwrap();
    let itself = house.exchange(&secret, "", "").await.unwrap().access_token;
    assert_eq!(house.seen(&itself, &omar).await, [PHONE, PHONE]);
    let for_user = house.exchange(&secret, "", &user.user.id).await.unwrap().access_token;
    assert_eq!(house.seen(&for_user, &omar).await, ["", ""], "it sees what he sees");
}

#[tokio::test]
async fn a_number_outlasts_a_deactivation_and_leaves_with_the_account() {
    let house = House::new().await;
    Data::of(&house, pages()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.reachable(&owner, "omar@example.com").await;
    assert_eq!(house.deactivate(&owner, &omar.user.id).await.unwrap().phone, PHONE);
    house.reactivate(&owner, &omar.user.id).await.unwrap();
    assert_eq!(house.member("omar@example.com").await.user.phone, PHONE);
    house.start_export(&owner, PASSWORD).await.unwrap();
    let ready = house.ready_export(&owner).await;
    let archive = house.download(&owner, &ready.id, 0).await.unwrap();
    let row = format!("\"phone\":\"{PHONE}\"");
    assert!(String::from_utf8_lossy(&archive).replace("\": \"", "\":\"").contains(&row));
}

#[tokio::test]
async fn what_is_no_number_is_refused_by_its_name_wherever_it_is_given() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    for bad in ["01001234567", "+0201001234", "+20100x234567", " ", "+1234567890123456"] {
        let request = InviteUserRequest { phone: bad.into(), ..invite_request("omar@example.com", &team) };
        let status = house.users().invite_user(owner.says(request)).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["phone"], "{bad}");
        let status = house.describe(&owner, phone(bad), &["phone"]).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["profile.phone"], "{bad}");
    }
    assert_eq!((house.count("users").await, house.member("mona@example.com").await.user.version), (1, 1));
}

#[tokio::test]
async fn he_changes_and_clears_his_number_and_the_log_says_what_it_was() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.reachable(&owner, "omar@example.com").await;
    let named = Profile { first_name: "Omar".into(), ..phone(OTHER) };
    assert_eq!(house.describe(&omar, named, &["first_name"]).await.unwrap().phone, PHONE, "the mask does not name it");
    let request = UpdateProfileRequest {
        request_id: ids::new_id().to_string(),
        profile: Some(phone(OTHER)),
        update_mask: Some(FieldMask { paths: vec!["phone".into()] }),
    };
    let first = house.profiles().update_profile(omar.says(request.clone())).await.unwrap().into_inner();
    let again = house.profiles().update_profile(omar.says(request.clone())).await.unwrap().into_inner();
    assert_eq!(first, again);
    let user = first.user.unwrap();
    assert_eq!((user.phone.as_str(), user.first_name.as_str()), (OTHER, "Omar"));
    let reused = UpdateProfileRequest { profile: Some(phone(PHONE)), ..request };
    let reused = house.profiles().update_profile(omar.says(reused)).await;
    assert_eq!(refusal(reused), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(house.seen(&owner.tokens.access_token, &omar).await, [OTHER, OTHER]);
    assert_eq!(house.describe(&omar, phone(""), &["phone"]).await.unwrap().phone, "");

    let entries = house.entries_of(&owner, "UpdateProfile", 3).await;
    let changes: Vec<_> = entries.iter().map(change).collect();
    let (was, is) = (Some(PHONE), Some(OTHER));
    assert_eq!(changes, [(is, Some("")), (was, is), (was, was)]);
    let invited = house.entries_of(&owner, "InviteUser", 1).await;
    assert!(invited.iter().any(|entry| change(entry) == (None, was)), "{invited:#?}");
}

#[tokio::test]
async fn an_invitation_is_repeated_with_the_same_number_or_it_is_another_one() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    let request = InviteUserRequest { phone: PHONE.into(), ..invite_request("omar@example.com", &team) };
    let first = house.users().invite_user(owner.says(request.clone())).await.unwrap().into_inner();
    let again = house.users().invite_user(owner.says(request.clone())).await.unwrap().into_inner();
    assert_eq!(first, again);
    for other in [OTHER, ""] {
        let reused = InviteUserRequest { phone: other.into(), ..request.clone() };
        let reused = house.users().invite_user(owner.says(reused)).await;
        assert_eq!(refusal(reused), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    }
}
