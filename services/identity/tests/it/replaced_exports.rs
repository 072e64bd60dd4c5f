//! What becomes of an export that another one replaces while it is gathered.

use std::{sync::Arc, time::Duration};

use diwan_runtime::MockClock;
use diwan_testkit::eventually;

use crate::{
    exports::{Data, pages},
    house::{House, PASSWORD},
};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_export_that_is_replaced_is_deleted_when_nobody_gathers_it_any_more() {
    let clock = MockClock::at("2026-03-01T08:00:00Z".parse().unwrap());
    let house = House::at(Arc::new(clock)).await;
    let data = Data::of(&house, pages()).await;
    let owner = house.owner("mona@example.com").await;
    let gate = data.hold();
    let first = house.start_export(&owner, PASSWORD).await.unwrap();
    eventually("a page is asked for", LIMIT, async || !data.asked().is_empty()).await;
    // As if it had got nowhere for a day.
    let age = sqlx::raw_sql("update exports set started_at = started_at - interval '1 day'");
    age.execute(&house.database.pool).await.unwrap();
    let _replica = house.beside(&[]).await.unwrap();
    let second = house.start_export(&owner, PASSWORD).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(house.ready_export(&owner).await.id, second.id);
    assert_eq!(house.count("exports where state = 'GONE'").await, 1, "its worker is about to put one more blob");
    gate.add_permits(1);
    eventually("it is deleted", LIMIT, async || house.count("exports").await == 1).await;
    assert_eq!(house.blobs("exports", &owner.user.account_id), 1);
}
