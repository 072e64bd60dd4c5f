//! What goes into a chain at once, and what waits.

use diwan_testkit::TestDatabase;

use super::*;
use crate::MIGRATIONS;

fn told(account: Uuid, event: u8) -> Told {
    (account, [event; 32], Content { event: format!("EVENT_{event}"), ..Content::default() })
}

async fn at_once(tx: &mut PgConnection, told: &Told) -> bool {
    chain_at_once(tx, told.0, &[told]).await.unwrap()
}

#[tokio::test]
async fn a_head_that_somebody_holds_is_not_waited_for() {
    let (database, account) = (TestDatabase::new(&MIGRATIONS).await, Uuid::from_u128(1));
    let (mut holder, mut other) = (database.pool.begin().await.unwrap(), database.pool.begin().await.unwrap());
    assert!(at_once(&mut holder, &told(account, 1)).await);
    holder.commit().await.unwrap();
    let mut holder = database.pool.begin().await.unwrap();
    audit::lock_head(&mut holder, account).await.unwrap();
    assert!(!at_once(&mut other, &told(account, 2)).await);
    assert!(at_once(&mut other, &told(Uuid::from_u128(2), 3)).await, "the same transaction goes on with others");
    holder.rollback().await.unwrap();
    assert!(at_once(&mut other, &told(account, 2)).await);
    assert_eq!(audit::find_head(&mut other, account).await.unwrap().number, 2);
}

#[tokio::test]
async fn nothing_overtakes_what_waits() {
    let (database, account) = (TestDatabase::new(&MIGRATIONS).await, Uuid::from_u128(1));
    let mut tx = database.pool.begin().await.unwrap();
    audit::receive(&mut tx, &[told(account, 1)]).await.unwrap();
    assert!(!at_once(&mut tx, &told(account, 2)).await);
    audit::take_waiting(&mut tx, account, 10).await.unwrap();
    assert!(at_once(&mut tx, &told(account, 2)).await);
}

#[tokio::test]
async fn what_is_told_again_is_not_appended_again() {
    let (database, account) = (TestDatabase::new(&MIGRATIONS).await, Uuid::from_u128(1));
    let mut tx = database.pool.begin().await.unwrap();
    for event in [1, 2, 1] {
        assert!(at_once(&mut tx, &told(account, event)).await);
    }
    assert_eq!(audit::find_head(&mut tx, account).await.unwrap().number, 2);
}
