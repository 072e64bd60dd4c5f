//! Invitations that nobody has accepted yet: sent again, corrected, withdrawn, expired.

use std::{sync::Arc, time::Duration};

use diwan_proto::{
    common::v1::PageRequest,
    identity::v1::{
        CorrectInvitationRequest, GetUserRequest, Invitation, ListInvitationsRequest, ReactivateUserRequest,
        ResendInvitationRequest, User, UserState, WithdrawInvitationRequest,
        invitation_service_client::InvitationServiceClient,
    },
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use jiff::Timestamp;
use tonic::{Code, Status};

use crate::house::{House, LIMIT, Member, invite_request, refusal, refused, token_in};

impl House {
    fn invitations(&self) -> InvitationServiceClient<Transport> {
        InvitationServiceClient::new(self.world.to("identity"))
    }

    pub async fn invite(&self, actor: &Member, email: &str) -> Result<User, Status> {
        let team = self.others.add_team(&actor.user.account_id);
        let answer = self.users().invite_user(actor.says(invite_request(email, &team))).await?;
        Ok(answer.into_inner().user.unwrap())
    }

    pub async fn resend(&self, actor: &Member, user: &str) -> Result<Invitation, Status> {
        let request = ResendInvitationRequest { request_id: ids::new_id().to_string(), user_id: user.into() };
        Ok(self.invitations().resend_invitation(actor.says(request)).await?.into_inner().invitation.unwrap())
    }

    pub async fn correct(&self, actor: &Member, user: &str, email: &str) -> Result<Invitation, Status> {
        let request = CorrectInvitationRequest {
            request_id: ids::new_id().to_string(),
            user_id: user.into(),
            email: email.into(),
        };
        Ok(self.invitations().correct_invitation(actor.says(request)).await?.into_inner().invitation.unwrap())
    }

    pub async fn withdraw(&self, actor: &Member, user: &str) -> Result<User, Status> {
        let request = WithdrawInvitationRequest { request_id: ids::new_id().to_string(), user_id: user.into() };
        Ok(self.invitations().withdraw_invitation(actor.says(request)).await?.into_inner().user.unwrap())
    }

    async fn open(&self, actor: &Member) -> Vec<String> {
        let request = ListInvitationsRequest { page: Some(PageRequest::default()) };
        let answer = self.invitations().list_invitations(actor.says(request)).await.unwrap().into_inner();
        answer.invitations.into_iter().map(|invitation| invitation.user.unwrap().email).collect()
    }

    fn has_seat(&self, user: &str) -> bool {
        self.others.told().seats.contains_key(user)
    }

    /// The tokens that an address has got, once there are so many.
    async fn invitation_tokens(&self, email: &str, count: usize) -> Vec<String> {
        let mails = eventually("the invitations arrive", LIMIT, async || {
            Some(self.mails(email)).filter(|mails| mails.len() == count)
        });
        mails.await.iter().map(|(_, text)| token_in(text)).collect()
    }
}

fn no_invitation() -> (Code, String) {
    refused(Code::NotFound, "INVITATION_NOT_FOUND")
}

fn not_invited() -> (Code, String) {
    refused(Code::FailedPrecondition, "USER_NOT_INVITED")
}

#[tokio::test]
async fn an_invitation_sent_again_has_a_new_token_and_the_old_one_is_dead() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let user = house.invite(&owner, "omar@example.com").await.unwrap();
    let first = house.invitation_token("omar@example.com").await;
    let renewed = house.resend(&owner, &user.id).await.unwrap();
    assert_eq!((renewed.user.unwrap(), renewed.team_ids.len()), (user.clone(), 1));
    let tokens = house.invitation_tokens("omar@example.com", 2).await;
    let second = tokens.into_iter().find(|token| *token != first).unwrap();
    assert_eq!(refusal(house.accept(&first).await), no_invitation());
    assert_eq!(house.accept(&second).await.unwrap().id, user.id);
    assert_eq!(refusal(house.resend(&owner, &user.id).await), not_invited());
    assert_eq!(house.others.told().seats.get(&user.id), Some(&false), "the refusal has not touched his seat");
}

#[tokio::test]
async fn a_corrected_invitation_goes_to_the_right_address_and_frees_the_wrong_one() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let user = house.invite(&owner, "omra@example.com").await.unwrap();
    let wrong = house.invitation_token("omra@example.com").await;
    assert_eq!(
        refusal(house.correct(&owner, &user.id, "MONA@example.com").await),
        refused(Code::AlreadyExists, "EMAIL_TAKEN")
    );
    let corrected = house.correct(&owner, &user.id, "omar@example.com").await.unwrap().user.unwrap();
    assert_eq!((corrected.email.as_str(), corrected.version), ("omar@example.com", 2));
    assert_eq!(refusal(house.accept(&wrong).await), no_invitation());
    let right = house.invitation_token("omar@example.com").await;
    house.invite(&owner, "omra@example.com").await.unwrap();
    // Another spelling is the same address, and this user's already.
    house.correct(&owner, &user.id, "Omar@example.com").await.unwrap();
    assert_eq!(refusal(house.accept(&right).await), no_invitation());
    let last = house.invitation_token("Omar@example.com").await;
    house.accept(&last).await.unwrap();
    assert_eq!(house.member("omar@example.com").await.user.id, user.id);
    assert_eq!(refusal(house.correct(&owner, &user.id, "x@example.com").await), not_invited());
}

#[tokio::test]
async fn a_withdrawn_invitation_frees_seat_and_address() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let other = house.owner("other@example.com").await;
    let user = house.invite(&owner, "omar@example.com").await.unwrap();
    let token = house.invitation_token("omar@example.com").await;
    assert_eq!(refusal(house.withdraw(&other, &user.id).await), refused(Code::NotFound, "USER_NOT_FOUND"));
    assert_eq!(refusal(house.invite(&other, "omar@example.com").await), refused(Code::AlreadyExists, "EMAIL_TAKEN"));
    assert_eq!(house.withdraw(&owner, &user.id).await.unwrap().state(), UserState::Deactivated);
    assert!(!house.has_seat(&user.id), "his seat is free when the call answers");
    assert_eq!(refusal(house.accept(&token).await), no_invitation());
    assert_eq!(refusal(house.withdraw(&owner, &user.id).await), not_invited());
    // The address is anybody's now, so the withdrawn invitation cannot come back to it.
    house.invite(&other, "omar@example.com").await.unwrap();
    let again = ReactivateUserRequest { request_id: ids::new_id().to_string(), user_id: user.id.clone() };
    let again = house.users().reactivate_user(owner.says(again)).await;
    assert_eq!(refusal(again), refused(Code::AlreadyExists, "EMAIL_TAKEN"));
    assert!(!house.has_seat(&user.id));
}

#[tokio::test]
async fn a_deactivated_colleague_keeps_his_address() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", diwan_proto::access::v1::Role::User).await;
    house.deactivate(&owner, &agent.user.id).await.unwrap();
    assert_eq!(refusal(house.invite(&owner, "omar@example.com").await), refused(Code::AlreadyExists, "EMAIL_TAKEN"));
}

#[tokio::test]
async fn open_invitations_are_listed_and_only_those() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let other = house.owner("other@example.com").await;
    house.others.told().limit = 6;
    house.invite(&other, "foreign@example.com").await.unwrap();
    for email in ["one@example.com", "two@example.com", "three@example.com"] {
        house.invite(&owner, email).await.unwrap();
    }
    assert_eq!(house.open(&owner).await, ["one@example.com", "two@example.com", "three@example.com"]);
    house.accept(&house.invitation_token("two@example.com").await).await.unwrap();
    let request = ListInvitationsRequest { page: Some(PageRequest { size: 1, token: String::new() }) };
    let page = house.invitations().list_invitations(owner.says(request)).await.unwrap().into_inner();
    assert_eq!((page.invitations.len(), page.invitations[0].team_ids.len()), (1, 1));
    let token = page.page.unwrap().next_token;
    let request = ListInvitationsRequest { page: Some(PageRequest { size: 1, token }) };
    let page = house.invitations().list_invitations(owner.says(request)).await.unwrap().into_inner();
    assert_eq!(page.invitations[0].user.as_ref().unwrap().email, "three@example.com");
    assert!(page.page.unwrap().next_token.is_empty());
}

#[tokio::test]
async fn an_expired_invitation_frees_seat_and_address_by_itself() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    let owner = house.owner("mona@example.com").await;
    let user = house.invite(&owner, "omar@example.com").await.unwrap();
    clock.advance(Duration::from_hours(7 * 24 - 1));
    let owner = house.member("mona@example.com").await;
    let later = house.invite(&owner, "later@example.com").await.unwrap();
    clock.advance(Duration::from_hours(1));
    let owner = house.member("mona@example.com").await;
    eventually("his seat is free", LIMIT, async || !house.has_seat(&user.id)).await;
    let request = GetUserRequest { user_id: user.id.clone() };
    let expired = house.users().get_user(owner.says(request)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((expired.state(), expired.version), (UserState::Deactivated, 2));
    assert_eq!(house.open(&owner).await, ["later@example.com"]);
    assert!(house.has_seat(&later.id));
    assert_ne!(house.invite(&owner, "omar@example.com").await.unwrap().id, user.id);
}

#[tokio::test]
async fn an_acceptance_and_a_withdrawal_at_once_end_in_one_of_them() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    for number in 0..3 {
        let email = format!("agent{number}@example.com");
        let user = house.invite(&owner, &email).await.unwrap();
        let token = house.invitation_token(&email).await;
        let (accepted, withdrawn) = tokio::join!(house.accept(&token), async {
            // About as long as the hash of the password takes, so that either may be first.
            tokio::time::sleep(Duration::from_millis(40 * number)).await;
            house.withdraw(&owner, &user.id).await
        });
        assert_ne!(accepted.is_ok(), withdrawn.is_ok(), "{accepted:?} {withdrawn:?}");
        eventually("nothing is left to do", LIMIT, async || house.count("jobs").await == 0).await;
        assert_eq!(house.has_seat(&user.id), accepted.is_ok());
    }
}
