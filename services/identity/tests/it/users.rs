//! Reading users.

use diwan_proto::{
    access::v1::Role,
    common::v1::PageRequest,
    identity::v1::{GetUserRequest, ListUsersRequest},
};
use tonic::Code;

use crate::house::{House, refusal, refused};

#[tokio::test]
async fn colleagues_are_listed_page_by_page_and_strangers_are_not() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    house.owner("stranger@example.com").await;
    for number in 0..3 {
        house.colleague(&owner, &format!("agent{number}@example.com"), Role::User).await;
    }
    let agent = house.member("agent2@example.com").await;
    let (mut token, mut emails) = (String::new(), Vec::new());
    loop {
        let request = ListUsersRequest { page: Some(PageRequest { size: 2, token }) };
        let page = house.users().list_users(agent.says(request)).await.unwrap().into_inner();
        assert!(page.users.len() <= 2);
        emails.extend(page.users.into_iter().map(|user| user.email));
        token = page.page.unwrap().next_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(emails, ["mona@example.com", "agent0@example.com", "agent1@example.com", "agent2@example.com"]);
}

#[tokio::test]
async fn an_empty_id_is_the_caller_and_a_broken_one_is_named() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let me = house.users().get_user(owner.says(GetUserRequest::default())).await.unwrap().into_inner();
    assert_eq!(me.user.unwrap(), owner.user);
    let broken = house.users().get_user(owner.says(GetUserRequest { user_id: "me".into() })).await;
    assert_eq!(refusal(broken), refused(Code::InvalidArgument, "INVALID_FIELDS"));
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let invite = house.users().invite_user(agent.says(crate::house::invite_request("x@example.com", "t"))).await;
    assert_eq!(refusal(invite), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
}

#[tokio::test]
async fn every_table_has_its_place_on_several_servers() {
    let house = House::new().await;
    let missing = diwan_testkit::undistributed(&house.database.pool, include_str!("../../distribute.sql")).await;
    assert!(missing.is_empty(), "{missing:?}");
}
