//! What asks for the password again: whoever has only taken somebody's session over neither does it nor learns the password by trying.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        OfferOwnershipRequest, ResetUserSecondFactorsRequest, SetSecondFactorPolicyRequest,
        ownership_service_client::OwnershipServiceClient,
    },
};
use diwan_runtime::{Env, ids};
use tonic::{Code, Status};

use crate::{
    house::{House, Member, PASSWORD, refusal, refused},
    throttle::{clock, house_at},
};

const WRONG: &str = "not her password";

#[derive(Clone, Copy, Debug)]
enum Act {
    OfferOwnership,
    ResetFactors,
    DemandFactors,
}

const ACTS: [Act; 3] = [Act::OfferOwnership, Act::ResetFactors, Act::DemandFactors];

impl House {
    /// What `owner` does to `admin`, or to everyone.
    async fn act(&self, act: Act, owner: &Member, admin: &Member, password: &str) -> Result<(), Status> {
        let (request_id, password, user_id) = (ids::new_id().to_string(), password.to_owned(), admin.user.id.clone());
        match act {
            Act::OfferOwnership => {
                let offer = owner.says(OfferOwnershipRequest { request_id, user_id, password });
                OwnershipServiceClient::new(self.world.to("identity")).offer_ownership(offer).await.map(drop)
            }
            Act::ResetFactors => {
                let reset = owner.says(ResetUserSecondFactorsRequest { request_id, user_id, password });
                self.factors().reset_user_second_factors(reset).await.map(drop)
            }
            Act::DemandFactors => {
                let demand = owner.says(SetSecondFactorPolicyRequest { request_id, demanded: true, password });
                self.factors().set_second_factor_policy(demand).await.map(drop)
            }
        }
    }

    /// All that these acts change.
    async fn standing(&self) -> Vec<String> {
        let tables = ["ownership_offers", "second_factors", "recovery_codes", "second_factor_policies", "sessions"];
        let mut rows = Vec::new();
        for table in tables {
            let query = sqlx::AssertSqlSafe(format!("select t::text from {table} t order by 1"));
            rows.extend(sqlx::query_scalar::<_, String>(query).fetch_all(&self.database.pool).await.unwrap());
        }
        rows
    }

    async fn failures(&self) -> Option<i32> {
        let failures = "select in_a_row from failures where counter = 'PASSWORD_CHANGE'";
        sqlx::query_scalar(failures).fetch_optional(&self.database.pool).await.unwrap()
    }
}

#[tokio::test]
async fn a_wrong_password_changes_nothing_and_counts_whatever_it_was_given_for() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    house.enrol(&owner, &clock).await;
    house.enrol(&admin, &clock).await;
    let before = house.standing().await;
    for (tries, act) in (1..=10).zip(ACTS.into_iter().cycle()) {
        let answer = refusal(house.act(act, &owner, &admin, WRONG).await);
        assert_eq!(answer, refused(Code::PermissionDenied, "PASSWORD_WRONG"), "{act:?}");
        assert_eq!(house.failures().await, Some(tries), "{act:?}");
    }
    for act in ACTS {
        let answer = refusal(house.act(act, &owner, &admin, PASSWORD).await);
        assert_eq!(answer, refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"), "{act:?}: nor is the right one");
        let nothing = house.act(act, &owner, &admin, "").await.unwrap_err();
        assert_eq!(nothing.code(), Code::InvalidArgument, "{act:?}");
    }
    assert_eq!(house.standing().await, before);
    clock.advance(Duration::from_secs(30));
    for act in ACTS {
        house.act(act, &owner, &admin, PASSWORD).await.unwrap();
        assert_eq!(house.failures().await, None, "{act:?}: a right one wipes them out");
    }
    assert_ne!(house.standing().await, before);
    assert_eq!(house.count("ownership_offers").await, 1);
    assert_eq!(house.count("second_factor_policies where demanded").await, 1);
    assert_eq!(house.count("second_factors where totp_secret is not null").await, 1, "the owner's own");
}
