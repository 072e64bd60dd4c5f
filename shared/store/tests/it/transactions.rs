//! Transactions that lose races, and errors that say what happened.

use std::sync::atomic::{AtomicUsize, Ordering};

use diwan_fault::Fault;
use diwan_store::Error;
use sqlx::PgConnection;
use tonic::Code;

use crate::support::{insert_effect, setup};

async fn touch(tx: &mut PgConnection, note: &str) -> Result<(), Error> {
    sqlx::query("update effects set note = note where note = $1").bind(note).execute(tx).await?;
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_is_chosen_as_a_deadlocks_victim_is_run_again() {
    let setup = setup().await;
    let mut connection = setup.test.pool.acquire().await.unwrap();
    insert_effect(&mut connection, "a").await.unwrap();
    insert_effect(&mut connection, "b").await.unwrap();
    let (runs, meeting) = (AtomicUsize::new(0), tokio::sync::Barrier::new(2));
    let crosswise = async |first: &'static str, second: &'static str| {
        // Only the first runs meet: the victim comes again alone.
        let fresh = AtomicUsize::new(0);
        let (runs, meeting, fresh) = (&runs, &meeting, &fresh);
        setup
            .database
            .transaction("crosswise", async |tx: &mut PgConnection| {
                runs.fetch_add(1, Ordering::SeqCst);
                touch(tx, first).await?;
                if fresh.fetch_add(1, Ordering::SeqCst) == 0 {
                    meeting.wait().await;
                }
                // The cause lies behind the error that the caller works with.
                touch(tx, second).await.map_err(Fault::from)
            })
            .await
    };
    let (one, other) = tokio::join!(crosswise("a", "b"), crosswise("b", "a"));
    one.unwrap();
    other.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_transaction_that_loses_every_time_ends_as_unavailable() {
    let setup = setup().await;
    let runs = AtomicUsize::new(0);
    let outcome = setup.database.transaction("unlucky", async |tx: &mut PgConnection| {
        runs.fetch_add(1, Ordering::SeqCst);
        sqlx::query("do $$ begin raise serialization_failure; end $$").execute(tx).await?;
        Ok::<_, Error>(())
    });
    let fault = Fault::from(outcome.await.unwrap_err());
    assert_eq!((fault.code(), runs.load(Ordering::SeqCst)), (Code::Unavailable, 10));
}

#[tokio::test]
async fn an_error_rolls_back_and_is_not_repeated() {
    let setup = setup().await;
    let runs = AtomicUsize::new(0);
    let outcome = setup.database.transaction("failing", async |tx: &mut PgConnection| {
        runs.fetch_add(1, Ordering::SeqCst);
        insert_effect(tx, "x").await?;
        Err::<(), _>(Error::RequestIdReused)
    });
    assert!(outcome.await.is_err());
    assert_eq!((runs.load(Ordering::SeqCst), setup.effects().await), (1, 0));
}

#[tokio::test]
async fn a_violated_unique_constraint_is_named() {
    let setup = setup().await;
    let mut connection = setup.test.pool.acquire().await.unwrap();
    insert_effect(&mut connection, "a").await.unwrap();
    let error = insert_effect(&mut connection, "a").await.unwrap_err();
    assert!(error.is_unique_violation("effects_note") && !error.is_unique_violation("other"), "{error:?}");
}

#[tokio::test]
async fn a_transaction_that_is_dropped_half_way_leaves_nothing() {
    let setup = setup().await;
    let written = tokio::sync::Notify::new();
    let transaction = setup.database.transaction("cancelled", async |tx: &mut PgConnection| {
        insert_effect(tx, "x").await?;
        written.notify_one();
        std::future::pending::<Result<(), Error>>().await
    });
    // As when a client goes away: the handler's future is dropped.
    tokio::select! {
        _ = transaction => unreachable!("it never ends"),
        () = written.notified() => {}
    }
    let mut connection = setup.test.pool.acquire().await.unwrap();
    insert_effect(&mut connection, "x").await.expect("the cancelled transaction holds no lock");
    assert_eq!(setup.effects().await, 1);
}
