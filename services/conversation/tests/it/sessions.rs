//! Streams whose leases cannot be extended: the database is away, or refuses one account.

use std::time::Duration;

use diwan_proto::conversation::v1::AvailabilityState;
use diwan_testkit::Person;

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_away_for_longer_than_a_lease_makes_nobody_offline_who_is_there() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    // The sweeper is at it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut away = office.pool().begin().await.unwrap();
    sqlx::query("lock table live_sessions in access exclusive mode").execute(&mut *away).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    away.rollback().await.unwrap();
    office.until("select count(*) from live_sessions where lease_until > now()", 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active);
    assert_eq!(office.count("select max(version) from presence").await, 1, "he never was away");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_leases_cannot_be_extended_takes_no_other_with_it() {
    let office = Office::open(0).await;
    let _inbox = office.watch(&office.owner).await;
    let strangers = [(); 6].map(|()| Person::owner());
    let mut theirs = Vec::new();
    for stranger in &strangers {
        theirs.push(office.watch(stranger).await);
    }
    let accounts: Vec<_> = strangers.iter().map(|stranger| format!("'{}'", stranger.account)).collect();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
         create trigger refuse before update on live_sessions for each row
             when (new.account_id in ({}) and new.lease_until > old.lease_until) execute function refuse();",
        accounts.join(",")
    )))
    .execute(office.pool())
    .await
    .unwrap();
    office.until("select count(*) from presence where state = 'OFFLINE'", 6).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(office.availability(&office.owner).await, AvailabilityState::Watching);
    assert_eq!(office.count("select count(*) from presence where state = 'WATCHING' and version = 1").await, 1);
}
