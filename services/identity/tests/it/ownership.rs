//! Handing the ownership over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AcceptOwnershipRequest, AcceptOwnershipResponse, EndOwnershipOfferRequest, GetOwnershipOfferRequest,
        GetUserRequest, OfferOwnershipRequest, OwnershipOffer, ownership_service_client::OwnershipServiceClient,
    },
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use jiff::Timestamp;
use tonic::{Code, Status};

use crate::house::{House, LIMIT, Member, PASSWORD, refusal, refused};

impl House {
    fn ownership(&self) -> OwnershipServiceClient<Transport> {
        OwnershipServiceClient::new(self.world.to("identity"))
    }

    async fn offer(&self, owner: &Member, user: &str) -> Result<OwnershipOffer, Status> {
        let request = OfferOwnershipRequest {
            request_id: ids::new_id().to_string(),
            user_id: user.into(),
            password: PASSWORD.into(),
        };
        Ok(self.ownership().offer_ownership(owner.says(request)).await?.into_inner().offer.unwrap())
    }

    async fn accept_ownership(&self, admin: &Member) -> Result<AcceptOwnershipResponse, Status> {
        let request = AcceptOwnershipRequest { request_id: ids::new_id().to_string() };
        Ok(self.ownership().accept_ownership(admin.says(request)).await?.into_inner())
    }

    async fn end_offer(&self, actor: &Member) -> Result<(), Status> {
        let request = EndOwnershipOfferRequest { request_id: ids::new_id().to_string() };
        self.ownership().end_ownership_offer(actor.says(request)).await.map(|_| ())
    }

    async fn role_of(&self, member: &Member) -> Role {
        let request = GetUserRequest::default();
        self.users().get_user(member.says(request)).await.unwrap().into_inner().user.unwrap().role()
    }
}

fn no_offer() -> (Code, String) {
    refused(Code::NotFound, "OWNERSHIP_OFFER_NOT_FOUND")
}

#[tokio::test]
async fn an_admin_who_accepts_is_the_owner_and_both_get_new_tokens() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    let offer = house.offer(&owner, &admin.user.id).await.unwrap();
    assert_eq!((&offer.owner_id, &offer.user_id), (&owner.user.id, &admin.user.id));
    let seen = house.ownership().get_ownership_offer(admin.says(GetOwnershipOfferRequest {})).await.unwrap();
    assert_eq!(seen.into_inner().offer, Some(offer));
    eventually("the admin is told", LIMIT, async || {
        house
            .mails("omar@example.com")
            .iter()
            .any(|(subject, _)| subject == "يعرض عليك Mona Said ملكية حساب شركة النور")
    })
    .await;
    let request = AcceptOwnershipRequest { request_id: "accept".into() };
    let answer = house.ownership().accept_ownership(admin.says(request.clone())).await.unwrap().into_inner();
    let (new, former) = (answer.owner.clone().unwrap(), answer.former_owner.clone().unwrap());
    assert_eq!((new.id.as_str(), new.role()), (admin.user.id.as_str(), Role::Owner));
    assert_eq!((former.id.as_str(), former.role()), (owner.user.id.as_str(), Role::Admin));
    for member in [&owner, &admin] {
        house.learn_epoch(&member.user.id, 1).await;
        let me = house.users().get_user(member.says(GetUserRequest::default())).await;
        assert_eq!(refusal(me), refused(Code::Unauthenticated, "UNAUTHENTICATED"));
    }
    let (former, new) = (house.refreshed(&owner).await, house.refreshed(&admin).await);
    let again = house.ownership().accept_ownership(new.says(request)).await.unwrap().into_inner();
    assert_eq!(again, answer, "a retry with the new role gets the first answer");
    assert_eq!(refusal(house.offer(&former, &new.user.id).await), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refusal(house.accept_ownership(&former).await), no_offer());
    house.offer(&new, &former.user.id).await.unwrap();
    house.accept_ownership(&former).await.unwrap();
    assert_eq!(house.role_of(&former).await, Role::Owner);
}

#[tokio::test]
async fn only_active_admins_are_offered_it_and_an_offer_ends_in_every_way() {
    let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let agent = house.colleague(&owner, "agent@example.com", Role::User).await;
    let stranger = house.owner("stranger@example.com").await;
    let no_admin = refused(Code::FailedPrecondition, "NOT_AN_ADMIN");
    assert_eq!(refusal(house.offer(&owner, &agent.user.id).await), no_admin);
    assert_eq!(refusal(house.offer(&owner, &owner.user.id).await), no_admin);
    assert_eq!(refusal(house.offer(&owner, &stranger.user.id).await), refused(Code::NotFound, "USER_NOT_FOUND"));
    // Declined by the admin, and taken back by the owner.
    for actor in [&admin, &owner] {
        house.offer(&owner, &admin.user.id).await.unwrap();
        house.end_offer(actor).await.unwrap();
        assert_eq!(refusal(house.accept_ownership(&admin).await), no_offer());
        assert_eq!(refusal(house.end_offer(actor).await), no_offer());
    }
    // Lost with the role, and not won back with it.
    house.offer(&owner, &admin.user.id).await.unwrap();
    house.change_role(&owner, &admin.user.id, Role::User, &[]).await.unwrap();
    house.change_role(&owner, &admin.user.id, Role::Admin, &[]).await.unwrap();
    assert_eq!(refusal(house.accept_ownership(&admin).await), no_offer());
    // Expired.
    house.offer(&owner, &admin.user.id).await.unwrap();
    clock.advance(Duration::from_hours(7 * 24));
    let admin = house.member("admin@example.com").await;
    assert_eq!(refusal(house.accept_ownership(&admin).await), no_offer());
    assert_eq!(house.role_of(&house.member("mona@example.com").await).await, Role::Owner);
}

/// Looks at the owners of every account until it is told to stop.
async fn watch_owners(house: Arc<House>, stop: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let wrong: i64 = sqlx::query_scalar(
            "select count(*) from accounts a
             where (select count(*) from users u where u.account_id = a.account_id and u.role = 'ROLE_OWNER') <> 1",
        )
        .fetch_one(&house.database.pool)
        .await
        .unwrap();
        assert_eq!(wrong, 0, "an account without exactly one owner");
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hand_overs_accepted_at_once_one_happens_and_there_is_one_owner_at_every_instant() {
    let house = Arc::new(House::new().await);
    let owner = house.owner("mona@example.com").await;
    let first = house.colleague(&owner, "first@example.com", Role::Admin).await;
    let second = house.colleague(&owner, "second@example.com", Role::Admin).await;
    let mut members = [owner, first, second];
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch_owners(house.clone(), stop.clone()));
    for _ in 0..6 {
        let [owner, first, second] = &members;
        house.offer(owner, &first.user.id).await.unwrap();
        // The offer moves from one to the other while both accept what they find.
        let (one, again, moved, other) = tokio::join!(
            house.accept_ownership(first),
            house.accept_ownership(first),
            house.offer(owner, &second.user.id),
            house.accept_ownership(second),
        );
        let first_won = usize::from(one.is_ok()) + usize::from(again.is_ok());
        let second_won = match (moved, other) {
            (Err(status), _) => {
                assert_eq!(refusal::<()>(Err(status)), refused(Code::FailedPrecondition, "NOT_THE_OWNER"));
                0
            }
            (Ok(_), Ok(_)) => 1,
            (Ok(_), Err(_)) => usize::from(house.accept_ownership(second).await.is_ok()),
        };
        assert_eq!((first_won + second_won, first_won.max(second_won)), (1, 1));
        let winner = if first_won == 1 { 1 } else { 2 };
        members.swap(0, winner);
        for member in &mut members {
            *member = house.refreshed(member).await;
        }
        assert_eq!(house.role_of(&members[0]).await, Role::Owner);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(watching.await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_and_the_loss_of_the_admins_role_at_once_leave_one_owner() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    for number in 0..4 {
        let admin = house.colleague(&owner, &format!("admin{number}@example.com"), Role::Admin).await;
        house.offer(&owner, &admin.user.id).await.unwrap();
        let (accepted, deactivated) = tokio::join!(house.accept_ownership(&admin), async {
            if number % 2 == 0 {
                house.deactivate(&owner, &admin.user.id).await
            } else {
                house.change_role(&owner, &admin.user.id, Role::User, &[]).await
            }
        });
        match (accepted, deactivated) {
            (Err(late), Ok(_)) => assert_eq!(refusal::<()>(Err(late)), no_offer()),
            (Ok(_), Err(late)) => {
                assert_eq!(refusal::<()>(Err(late)), refused(Code::FailedPrecondition, "OWNER_IS_PROTECTED"));
                // Back to the first one for the next round.
                let (admin, former) = (house.refreshed(&admin).await, house.refreshed(&owner).await);
                house.offer(&admin, &owner.user.id).await.unwrap();
                house.accept_ownership(&former).await.unwrap();
            }
            both => panic!("{both:?}"),
        }
        let owners = house.count("users where role = 'ROLE_OWNER'").await;
        assert_eq!(owners, 1);
    }
}
