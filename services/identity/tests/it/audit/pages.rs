//! A log of large entries is read in answers that every client can read.

use prost::{Message as _, encoding};

use super::*;

/// What one answer may have, if it has more than one entry: a mebibyte of contents, and a little around each.
const LARGEST: usize = 1_100_000;

impl House {
    /// An entry like the one with the number `last`, `place` after it, that says in so many bytes what came of it.
    async fn add_large(&self, account: &str, (last, place): (i64, i64), bytes: usize) {
        let mut after = Vec::new();
        // A field that comes twice is what it is said to be last.
        encoding::string::encode(10, &format!(r#"{{"name": "{}"}}"#, "x".repeat(bytes)), &mut after);
        let added = sqlx::query(
            "insert into audit_entries
             select account_id, number + $3, sha256(event_id || number::text::bytea || $3::text::bytea), hash, content || $4, occurred_at,
                    actor, acting_for, method, call, entity_kind, entity_id, entity_version + $3
             from audit_entries where account_id = $1 and number = $2",
        );
        let added = added.bind(account.parse::<Uuid>().unwrap()).bind(last).bind(place).bind(after);
        added.execute(&self.database.pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_of_large_entries_is_read_page_by_page_each_once_and_in_order() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let last = house.settled(&owner).await;
    let sizes = [100_000, 150_000, 150_000, 150_000, 1_200_000, 10, 150_000, 150_000, 150_000, 10];
    for (place, bytes) in (1..).zip(sizes) {
        house.add_large(&owner.user.account_id, (last, place), bytes).await;
    }
    let (mut token, mut numbers, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let page = Some(PageRequest { size: 200, token });
        let request = owner.says(ListAuditEntriesRequest { filter: None, page });
        let mut client = AuditServiceClient::new(house.world.to("identity"));
        let answer = client.list_audit_entries(request).await.unwrap().into_inner();
        let (bytes, entries) = (answer.encoded_len(), answer.entries.len());
        assert!(entries > 0 && (bytes <= LARGEST || entries == 1), "{bytes} in {entries}");
        numbers.extend(answer.entries.iter().map(|entry| entry.number));
        (token, pages) = (answer.page.unwrap().next_token, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(numbers, (1..=last + 10).rev().collect::<Vec<_>>());
    assert!((4..=8).contains(&pages), "several at a time where they fit: {pages}");
}
