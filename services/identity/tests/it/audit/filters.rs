//! What a filter names is shown, and nothing else.

use super::*;

/// Whether a filter names an entry.
type Names<'a> = &'a dyn Fn(&AuditEntry) -> bool;

#[tokio::test]
async fn each_filter_shows_all_that_it_names_and_nothing_else() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    house.rename(&admin, "By the admin").await;
    house.settled(&owner).await;
    let _at_rest = house.at_rest().await;
    let all = house.audit(&owner, AuditFilter::default()).await.unwrap();
    let middle = all[all.len() / 2].occurred_at.unwrap();
    let at = |entry: &AuditEntry| entry.occurred_at.map(|time| (time.seconds, time.nanos)).unwrap();
    let of = |entry: &AuditEntry| entry.origin.clone().unwrap_or_default();
    let (kind, method) = ("diwan.identity.v1.Account", "diwan.identity.v1.AccountService/UpdateAccount");
    let (mine, account) = (owner.user.id.clone(), owner.user.account_id.clone());
    let none = AuditFilter::default;
    let filters: [(AuditFilter, Names); 8] = [
        (AuditFilter { actor: mine.clone(), ..none() }, &|entry| of(entry).actor_id == mine),
        (AuditFilter { entity_kind: kind.into(), ..none() }, &|entry| entry.entity_kind == kind),
        (AuditFilter { entity_id: account.clone(), ..none() }, &|entry| entry.entity_id == account),
        (AuditFilter { method: method.into(), ..none() }, &|entry| of(entry).method == method),
        (AuditFilter { method: "UpdateAccount".into(), ..none() }, &|entry| of(entry).method == method),
        (AuditFilter { from: Some(middle), ..none() }, &|entry| at(entry) >= (middle.seconds, middle.nanos)),
        (AuditFilter { until: Some(middle), ..none() }, &|entry| at(entry) < (middle.seconds, middle.nanos)),
        (AuditFilter { actor: mine.clone(), method: method.into(), from: Some(middle), ..none() }, &|entry| {
            of(entry).actor_id == mine && of(entry).method == method && at(entry) >= (middle.seconds, middle.nanos)
        }),
    ];
    for (filter, names) in filters {
        let named: Vec<_> = all.iter().filter(|entry| names(entry)).map(|entry| entry.number).collect();
        assert!(!named.is_empty() && named.len() < all.len(), "it would show nothing: {filter:?}");
        let shown = house.audit(&owner, filter.clone()).await.unwrap();
        assert_eq!(shown.iter().map(|entry| entry.number).collect::<Vec<_>>(), named, "{filter:?}");
    }
}
