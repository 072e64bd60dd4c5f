//! Operators' tokens that are revoked, and the tokens of sessions that are not even looked up.

use std::time::Duration;

use diwan_access::{Admission, keys};
use diwan_launch::Context;
use diwan_proto::identity::v1::{
    ListOperatorRevocationsRequest, OperatorRevocation, RefreshSessionRequest, RevokeOperatorRequest,
    RevokeOperatorTokenRequest, operator_revocation::Tokens, operator_service_client::OperatorServiceClient,
};
use diwan_runtime::{Env, ids};
use diwan_testkit::eventually;
use diwan_transport::Transport;
use http::{HeaderMap, header::AUTHORIZATION};
use tonic::{Code, Request};

use crate::house::{House, LIMIT, bearing, refusal, refused};

const SET_SEATS: &str = "/diwan.billing.v1.SubscriptionService/SetSeatLimit";

impl House {
    fn operators(&self) -> OperatorServiceClient<Transport> {
        OperatorServiceClient::new(self.world.to("identity"))
    }

    /// The verifier of the service billing, which follows identity.
    async fn billing(&self) -> Admission {
        let keys = self.world.context("billing", Env::default()).keys;
        let env = Env::default().with("DIWAN_KEYS", keys.to_str().unwrap());
        let (clock, drain) = (self.world.clock.clone(), self.world.drain.clone());
        let context = Context::new("billing", env, clock, drain, self.world.network.clone()).unwrap();
        eventually("it has heard of identity", LIMIT, async || context.admission.key_set().is_some()).await;
        context.admission
    }

    /// An operator's token and its id.
    pub fn operator(&self, name: &str, scope: &str) -> (String, String) {
        let signer = self.world.signer(keys::OPERATOR);
        let claims = signer.operator_claims(name, vec![scope.to_owned()], Duration::from_hours(1));
        (claims.jti.to_string(), signer.sign(&claims).unwrap())
    }

    async fn revocations_by(&self, token: &str) -> Vec<OperatorRevocation> {
        let request = bearing(token, ListOperatorRevocationsRequest::default());
        self.operators().list_operator_revocations(request).await.unwrap().into_inner().revocations
    }
}

fn say(verifier: &Admission, token: &str) -> Result<(), Code> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]);
    verifier.admit(SET_SEATS, &headers, "billing").map(drop).map_err(|fault| fault.code())
}

fn revoke_token(token_id: &str) -> RevokeOperatorTokenRequest {
    let reason = "lost".to_owned();
    RevokeOperatorTokenRequest { request_id: ids::new_id().to_string(), token_id: token_id.to_owned(), reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_everywhere_and_what_was_revoked_is_listed() {
    let house = House::new().await;
    let billing = house.billing().await;
    let (_, ada) = house.operator("ada", "operators.write");
    let ((lost_id, lost), (_, kept)) = (house.operator("bo", "billing.write"), house.operator("bo", "billing.write"));
    assert_eq!([say(&billing, &lost), say(&billing, &kept)], [Ok(()), Ok(())]);
    let answer = house.operators().revoke_operator_token(bearing(&ada, revoke_token(&lost_id))).await.unwrap();
    let first = answer.into_inner().revocation.unwrap();
    assert_eq!((first.tokens.clone(), &*first.revoked_by), (Some(Tokens::TokenId(lost_id.clone())), "ada"));
    eventually("it is refused", Duration::from_secs(5), async || say(&billing, &lost) == Err(Code::Unauthenticated))
        .await;
    assert_eq!(say(&billing, &kept), Ok(()));
    let again = house.operators().revoke_operator_token(bearing(&ada, revoke_token(&lost_id))).await.unwrap();
    assert_eq!(again.into_inner().revocation, Some(first.clone()), "once more answers with the first");

    let request = RevokeOperatorRequest {
        request_id: ids::new_id().to_string(),
        operator: "bo".into(),
        issued_until: None,
        reason: "left the company".into(),
    };
    house.operators().revoke_operator(bearing(&ada, request)).await.unwrap();
    eventually("all of his are", Duration::from_secs(5), async || say(&billing, &kept) == Err(Code::Unauthenticated))
        .await;
    let late = house.billing().await;
    assert_eq!(
        [say(&late, &lost), say(&late, &kept)],
        [Err(Code::Unauthenticated); 2],
        "a process that starts later knows"
    );
    let (_, reader) = house.operator("cy", "operators.read");
    let listed = house.revocations_by(&reader).await;
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0].tokens, &listed[1]), (&Some(Tokens::Operator("bo".into())), &first));
}

#[tokio::test]
async fn a_time_that_has_not_come_cannot_be_revoked_and_every_bad_field_is_named() {
    let house = House::new().await;
    let (_, ada) = house.operator("ada", "operators.write");
    let soon = std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(9_028_800);
    let request = RevokeOperatorRequest { issued_until: Some(soon.into()), ..RevokeOperatorRequest::default() };
    let status = house.operators().revoke_operator(bearing(&ada, request)).await.unwrap_err();
    assert_eq!(diwan_testkit::bad_fields(&status), ["request_id", "operator", "issued_until", "reason"]);
    let owner = house.owner("mona@example.com").await;
    let asked = house.operators().revoke_operator_token(owner.says(revoke_token(&ids::new_id().to_string()))).await;
    assert_eq!(asked.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_cut_or_mistyped_refresh_token_is_refused_without_a_look_at_the_database() {
    let house = House::new().await;
    let good = house.owner("mona@example.com").await.tokens.refresh_token;
    assert!(good.starts_with("diwan_"));
    let refresh = async |token: &str| {
        let mut request = Request::new(RefreshSessionRequest { refresh_token: token.to_owned() });
        request.set_timeout(LIMIT);
        house.sessions().refresh_session(request).await
    };
    // Nobody can read a session or a user now.
    let mut tx = house.database.pool.begin().await.unwrap();
    sqlx::query("lock table sessions, users, accounts in access exclusive mode").execute(&mut *tx).await.unwrap();
    let middle = good.len() / 2;
    let other = if good.as_bytes()[middle] == b'x' { "y" } else { "x" };
    let mistyped = format!("{}{other}{}", &good[..middle], &good[middle + 1..]);
    for bad in [&good[..good.len() - 1], &good[..middle], &mistyped] {
        assert_eq!(refusal(refresh(bad).await), refused(Code::Unauthenticated, "REFRESH_REFUSED"));
    }
    tx.rollback().await.unwrap();
    refresh(&good).await.unwrap();
}
