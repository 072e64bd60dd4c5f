//! How many principals an account has in use.

use super::*;

const MOST: i64 = 50;

impl House {
    async fn in_use(&self, account: &str) -> i64 {
        sqlx::query_scalar("select count(*) from service_principals where account_id = $1 and disabled_at is null")
            .bind(account.parse::<uuid::Uuid>().unwrap())
            .fetch_one(&self.database.pool)
            .await
            .unwrap()
    }

    async fn create(&self, by: &Member) -> Result<(), Status> {
        self.principals().create_service_principal(by.says(create(&[LIST_USERS]))).await.map(drop)
    }

    async fn disable(&self, by: &Member, principal: &str) {
        let request = DisableServicePrincipalRequest { request_id: id(), principal_id: principal.into() };
        self.principals().disable_service_principal(by.says(request)).await.unwrap();
    }

    async fn enable(&self, by: &Member, principal: &str) -> Result<(), Status> {
        let request = EnableServicePrincipalRequest { request_id: id(), principal_id: principal.into() };
        self.principals().enable_service_principal(by.says(request)).await.map(drop)
    }
}

fn too_many() -> (Code, String) {
    refused(Code::FailedPrecondition, "TOO_MANY_PRINCIPALS")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_that_are_made_at_once_50_are_and_other_accounts_have_their_own() {
    let house = House::new().await;
    let (owner, other) = (house.owner("mona@example.com").await, house.owner("other@example.com").await);
    let made = join_all((0..64).map(|_| house.create(&owner))).await;
    let refusals: Vec<_> = made.into_iter().filter(Result::is_err).map(refusal).collect();
    assert_eq!(refusals, vec![too_many(); 14]);
    assert_eq!(house.in_use(&owner.user.account_id).await, MOST);
    house.create(&other).await.unwrap();
    let accounts = vec![owner.user.account_id.clone()];
    let request = CreateServicePrincipalRequest { account_ids: accounts, ..create(&[LIST_USERS]) };
    house.principals().create_service_principal(house.by_operator(request)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_and_who_enables_at_once_share_what_is_left() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let mut disabled = Vec::new();
    for _ in 0..32 {
        let principal = house.principal(&owner, &[LIST_USERS]).await;
        house.disable(&owner, &principal.id).await;
        disabled.push(principal.id);
    }
    for _ in 0..40 {
        house.create(&owner).await.unwrap();
    }
    let making = join_all((0..32).map(|_| house.create(&owner)));
    let enabling = join_all(disabled.iter().map(|principal| house.enable(&owner, principal)));
    let (made, enabled) = tokio::join!(making, enabling);
    let refusals: Vec<_> = made.into_iter().chain(enabled).filter(Result::is_err).map(refusal).collect();
    assert_eq!(refusals, vec![too_many(); 54]);
    assert_eq!(house.in_use(&owner.user.account_id).await, MOST);
}

#[tokio::test]
async fn a_disabled_one_makes_room_and_one_in_use_may_be_enabled_again_in_a_full_account() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let (first, second) = (house.principal(&owner, &[LIST_USERS]).await, house.principal(&owner, &[LIST_USERS]).await);
    for _ in 2..MOST {
        house.create(&owner).await.unwrap();
    }
    assert_eq!(refusal(house.create(&owner).await), too_many());
    house.enable(&owner, &first.id).await.unwrap();
    house.disable(&owner, &second.id).await;
    house.create(&owner).await.unwrap();
    assert_eq!(refusal(house.enable(&owner, &second.id).await), too_many());
    house.disable(&owner, &first.id).await;
    house.enable(&owner, &second.id).await.unwrap();
}
