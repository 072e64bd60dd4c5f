//! Replicas that start together, and versions that meet.

use diwan_store::{Error, is_current, migrate};
use diwan_testkit::TestDatabase;

use crate::support::migrator;

const FIRST: (i64, &str) = (1, "create table one (id int primary key)");
const SECOND: (i64, &str) = (2, "insert into one values (1)");

async fn empty() -> TestDatabase {
    TestDatabase::new(&migrator(&[])).await
}

async fn rows(test: &TestDatabase) -> i64 {
    sqlx::query_scalar("select count(*) from one").fetch_one(&test.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_replicas_that_start_together_migrate_once() {
    let test = empty().await;
    let replicas: Vec<_> = (0..8)
        .map(|_| {
            let pool = test.pool.clone();
            tokio::spawn(async move { migrate(&pool, &migrator(&[FIRST, SECOND])).await })
        })
        .collect();
    for replica in replicas {
        replica.await.unwrap().unwrap();
    }
    assert_eq!(rows(&test).await, 1);
}

#[tokio::test]
async fn a_database_is_current_when_it_has_all_our_migrations_unedited() {
    let test = empty().await;
    let fresh = sqlx::query("drop table _sqlx_migrations").execute(&test.pool).await;
    fresh.unwrap();
    assert!(!is_current(&test.pool, &migrator(&[FIRST])).await.unwrap(), "never migrated");
    migrate(&test.pool, &migrator(&[FIRST])).await.unwrap();
    assert!(is_current(&test.pool, &migrator(&[FIRST])).await.unwrap());
    assert!(!is_current(&test.pool, &migrator(&[FIRST, SECOND])).await.unwrap(), "one is missing");
    let edited = migrator(&[(1, "create table one (id bigint primary key)")]);
    assert!(!is_current(&test.pool, &edited).await.unwrap(), "edited");
    assert!(matches!(migrate(&test.pool, &edited).await, Err(Error::Migrate(_))));
}

#[tokio::test]
async fn the_previous_version_still_starts_on_a_database_that_the_next_one_has_migrated() {
    let test = empty().await;
    migrate(&test.pool, &migrator(&[FIRST, SECOND])).await.unwrap();
    migrate(&test.pool, &migrator(&[FIRST])).await.unwrap();
    assert!(is_current(&test.pool, &migrator(&[FIRST])).await.unwrap());
}

#[tokio::test]
async fn a_migration_that_fails_changes_nothing_and_does_not_lock_out_the_next_try() {
    let test = empty().await;
    let broken = (2, "insert into one values (1); select 1 / 0");
    let error = migrate(&test.pool, &migrator(&[FIRST, broken])).await.unwrap_err();
    assert!(matches!(error, Error::Migrate(_)), "{error:?}");
    assert_eq!(rows(&test).await, 0);
    let repaired = migrator(&[FIRST, SECOND]);
    let again = tokio::time::timeout(crate::support::LIMIT, migrate(&test.pool, &repaired));
    again.await.expect("the lock is free").unwrap();
    assert_eq!(rows(&test).await, 1);
}
