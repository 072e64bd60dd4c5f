//! Roles, grants and pages.

use std::collections::BTreeSet;

use diwan_proto::{
    access::v1::{Grant, Page, Role},
    identity::v1::{
        ChangeRoleRequest, GetUserRequest, ListPagesRequest, RefreshSessionRequest, User, UserState,
        WatchRevocationsRequest, role_service_client::RoleServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_transport::Transport;
use jiff::Timestamp;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::house::{House, LIMIT, Member, refusal, refused};

impl House {
    pub fn roles(&self) -> RoleServiceClient<Transport> {
        RoleServiceClient::new(self.world.to("identity"))
    }

    pub async fn change_role(&self, actor: &Member, user: &str, role: Role, grants: &[Grant]) -> Result<User, Status> {
        let request = ChangeRoleRequest {
            request_id: ids::new_id().to_string(),
            user_id: user.into(),
            role: role.into(),
            grants: grants.iter().map(|grant| i32::from(*grant)).collect(),
        };
        Ok(self.roles().change_role(actor.says(request)).await?.into_inner().user.unwrap())
    }

    /// Somebody after a refresh of his session.
    pub async fn refreshed(&self, member: &Member) -> Member {
        let request = RefreshSessionRequest { refresh_token: member.tokens.refresh_token.clone() };
        let tokens = self.sessions().refresh_session(request).await.unwrap().into_inner().tokens.unwrap();
        Member { user: member.user.clone(), tokens }
    }

    /// Tells the verifiers of this world what identity has revoked, once a user's epoch is among it.
    pub async fn learn_epoch(&self, user: &str, epoch: i64) {
        let mut stream = self.revocations().watch_revocations(WatchRevocationsRequest {}).await.unwrap().into_inner();
        loop {
            let told = timeout(LIMIT, stream.message()).await.unwrap().unwrap().unwrap().revocations;
            self.world.revocations.learn(&told, Timestamp::MAX);
            if told.iter().any(|revocation| revocation.subject_id == user && revocation.epoch == epoch) {
                return;
            }
        }
    }

    async fn pages(&self, member: &Member) -> Vec<Page> {
        let answer = self.roles().list_pages(member.says(ListPagesRequest {})).await.unwrap();
        answer.into_inner().pages().collect()
    }
}

#[tokio::test]
async fn a_changed_role_cuts_tokens_and_a_refresh_of_the_same_session_has_the_new_role() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    assert_eq!(house.pages(&agent).await, [Page::Inbox, Page::Contacts]);
    let changed = house.change_role(&owner, &agent.user.id, Role::Admin, &[Grant::Campaigns]).await.unwrap();
    assert_eq!((changed.role(), changed.version), (Role::Admin, agent.user.version + 1));
    house.learn_epoch(&agent.user.id, 1).await;
    let me = house.users().get_user(agent.says(GetUserRequest::default())).await;
    assert_eq!(refusal(me), refused(Code::Unauthenticated, "UNAUTHENTICATED"));
    let agent = house.refreshed(&agent).await;
    assert_eq!(
        house.pages(&agent).await,
        [
            Page::Inbox,
            Page::Contacts,
            Page::Chatbot,
            Page::Reports,
            Page::Dashboard,
            Page::Campaigns,
            Page::Automation,
            Page::Settings
        ]
    );
    let again = house.change_role(&owner, &agent.user.id, Role::Admin, &[Grant::Campaigns]).await.unwrap();
    assert_eq!(again, changed, "a change to what he has already changes nothing");
    assert_eq!(house.count("revocations").await, 1);
    house.refreshed(&agent).await;
}

#[tokio::test]
async fn the_owner_keeps_his_role_nobody_raises_himself_and_strangers_are_not_found() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let stranger = house.owner("stranger@example.com").await;
    let change = async |actor: &Member, user: &str, role, grants: &[Grant]| {
        refusal(house.change_role(actor, user, role, grants).await)
    };
    let protected = refused(Code::FailedPrecondition, "OWNER_IS_PROTECTED");
    assert_eq!(change(&admin, &owner.user.id, Role::User, &[]).await, protected);
    assert_eq!(change(&owner, &owner.user.id, Role::Admin, &[]).await, protected);
    assert_eq!(
        change(&admin, &admin.user.id, Role::Admin, &[Grant::Campaigns]).await,
        refused(Code::FailedPrecondition, "CANNOT_RAISE_SELF")
    );
    let unknown = refused(Code::NotFound, "USER_NOT_FOUND");
    for id in [&stranger.user.id, &ids::new_id().to_string()] {
        assert_eq!(change(&owner, id, Role::User, &[]).await, unknown);
    }
    assert_eq!(
        change(&owner, &admin.user.id, Role::Owner, &[]).await,
        refused(Code::InvalidArgument, "INVALID_FIELDS")
    );
    assert_eq!(house.change_role(&admin, &admin.user.id, Role::User, &[]).await.unwrap().role(), Role::User);
    // His token still says that he is an admin, until verifiers have heard: it does not get him his role back.
    assert_eq!(
        change(&admin, &admin.user.id, Role::Admin, &[]).await,
        refused(Code::FailedPrecondition, "CANNOT_RAISE_SELF")
    );
    let demoted = house.refreshed(&admin).await;
    assert_eq!(
        change(&demoted, &stranger.user.id, Role::User, &[]).await,
        refused(Code::PermissionDenied, "PERMISSION_DENIED")
    );
}

#[tokio::test]
async fn a_role_change_and_a_deactivation_at_once_both_happen_with_an_epoch_each() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    for number in 0..3 {
        let agent = house.colleague(&owner, &format!("agent{number}@example.com"), Role::User).await;
        let (changed, deactivated) = tokio::join!(
            house.change_role(&owner, &agent.user.id, Role::Admin, &[Grant::SubscriptionManagement]),
            house.deactivate(&owner, &agent.user.id),
        );
        let versions = BTreeSet::from([changed.unwrap().version, deactivated.unwrap().version]);
        assert_eq!(versions, BTreeSet::from([agent.user.version + 1, agent.user.version + 2]));
        let request = GetUserRequest { user_id: agent.user.id.clone() };
        let user = house.users().get_user(owner.says(request)).await.unwrap().into_inner().user.unwrap();
        assert_eq!((user.role(), user.state()), (Role::Admin, UserState::Deactivated));
        let epochs: Vec<i64> = sqlx::query_scalar("select epoch from revocations where subject_id = $1 order by epoch")
            .bind(uuid::Uuid::parse_str(&agent.user.id).unwrap())
            .fetch_all(&house.database.pool)
            .await
            .unwrap();
        assert_eq!(epochs, [1, 2]);
    }
}
