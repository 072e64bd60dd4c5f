//! Calls of operators that their scopes do not allow.

use sqlx::Executor as _;

use super::*;
use crate::house::bearing;

#[tokio::test]
async fn a_call_that_an_operators_scopes_do_not_allow_stands_in_the_log_of_the_installation_alone() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let request = VerifyAuditLogRequest { account_id: owner.user.account_id.clone(), heads: vec![] };
    let (id, token) = house.operator("curious", "billing.read");
    let mut client = AuditInspectionServiceClient::new(house.world.to("identity"));
    let answer = client.verify_audit_log(bearing(&token, request)).await;
    assert_eq!(refusal(answer), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
    let (_, reader) = house.operator("reader", "audit.read");
    let told = async |account: &str| {
        let filter = Some(AuditFilter { actor: "curious".into(), ..AuditFilter::default() });
        let request = InspectAuditEntriesRequest { account_id: account.into(), filter, page: None };
        let mut client = AuditInspectionServiceClient::new(house.world.to("identity"));
        client.inspect_audit_entries(bearing(&reader, request)).await.unwrap().into_inner().entries
    };
    let entries =
        eventually("it stands in the log", LIMIT * 3, async || Some(told("").await).filter(|all| !all.is_empty()))
            .await;
    let [entry] = entries.as_slice() else { panic!("{entries:#?}") };
    let origin = entry.origin.as_ref().unwrap();
    assert_eq!(
        (&*entry.event, origin.actor(), &*origin.actor_id),
        ("OPERATOR_CALL_REFUSED", ActorKind::Operator, &*id)
    );
    assert_eq!(origin.method, "diwan.identity.v1.AuditInspectionService/VerifyAuditLog");
    house.settled(&owner).await;
    assert_eq!(told(&owner.user.account_id).await, [], "whoever may not touch an account leaves nothing in its log");
}

#[tokio::test]
async fn a_refusal_that_cannot_be_written_down_is_not_given() {
    let house = House::new().await;
    let (_, token) = house.operator("curious", "billing.read");
    house.database.pool.execute("alter table feed_events rename to feed_events_gone").await.unwrap();
    let mut client = AuditInspectionServiceClient::new(house.world.to("identity"));
    let answer = client.verify_audit_log(bearing(&token, VerifyAuditLogRequest::default())).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
}
