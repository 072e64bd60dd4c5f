//! Wake-ups between replicas.

use std::time::Duration;

use diwan_runtime::Drain;
use diwan_store::{Wake, Woken, wake};
use sqlx::PgConnection;

use crate::support::{LIMIT, Setup, setup};

const BELL: &str = "queue";

/// Another replica whose listener is known to listen: it wakes everybody when it begins.
async fn replica(setup: &Setup) -> (Wake, Woken) {
    let pool = setup.test.another_pool().await;
    let wake = Wake::start(&setup.drain, &pool);
    let mut woken = wake.subscribe(BELL);
    assert!(woken.within(LIMIT).await, "a listener that begins wakes everybody");
    (wake, woken)
}

#[tokio::test]
async fn a_bell_wakes_another_replica() {
    let setup = setup().await;
    let (_wake, mut woken) = replica(&setup).await;
    setup.database.wake().ring(BELL);
    assert!(woken.within(LIMIT).await);
}

#[tokio::test]
async fn a_bell_wakes_its_own_process_without_the_database() {
    let setup = setup().await;
    let drain = Drain::new();
    let wake = Wake::start(&drain, &setup.test.pool);
    setup.test.pool.close().await;
    let mut woken = wake.subscribe(BELL);
    wake.ring(BELL);
    assert!(woken.within(LIMIT).await);
    drain.begin();
}

#[tokio::test]
async fn one_bell_does_not_wake_those_who_wait_for_another() {
    let setup = setup().await;
    let (wake, mut woken) = replica(&setup).await;
    let mut other = wake.subscribe("other");
    setup.database.wake().ring(BELL);
    assert!(woken.within(LIMIT).await);
    assert!(!other.within(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn rings_before_the_wait_count_as_one() {
    let setup = setup().await;
    let mut woken = setup.database.wake().subscribe("own");
    for _ in 0..100 {
        setup.database.wake().ring("own");
    }
    assert!(woken.within(LIMIT).await);
    // The listener's own beginning may ring once more.
    woken.within(Duration::from_millis(200)).await;
    assert!(!woken.within(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_transaction_rings_after_its_commit() {
    let setup = setup().await;
    let pool = setup.test.another_pool().await;
    let other = Wake::start(&setup.drain, &pool);
    let mut woken = other.subscribe(wake::COMMITTED);
    assert!(woken.within(LIMIT).await);
    let done = setup.database.transaction("nothing", async |_: &mut PgConnection| Ok::<_, diwan_store::Error>(()));
    done.await.unwrap();
    assert!(woken.within(LIMIT).await);
}

#[tokio::test]
async fn everybody_is_woken_after_the_listeners_connection_was_lost_and_hears_again() {
    let setup = setup().await;
    let (_wake, mut woken) = replica(&setup).await;
    let killed = sqlx::query_scalar::<_, i64>(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and query ilike 'listen %'",
    );
    assert!(killed.fetch_one(&setup.test.pool).await.unwrap() >= 1);
    assert!(woken.within(LIMIT).await, "what was rung meanwhile is unknown");
    setup.database.wake().ring(BELL);
    assert!(woken.within(LIMIT).await);
}
