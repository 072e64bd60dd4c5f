//! Each event takes effect once, whoever applies it and whatever fails.

use std::{sync::atomic::Ordering, time::Duration};

use diwan_feed::consume;
use diwan_runtime::{Clock as _, SystemClock};
use diwan_store::{Database, Wake};
use diwan_testkit::eventually;

use crate::support::{LIMIT, Recorder, Setup, setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_replicas_on_one_cursor_apply_each_event_once_and_in_order() {
    let setup = setup().await;
    for _ in 0..3 {
        let pool = setup.test.another_pool().await;
        let database = Database::new(pool.clone(), Wake::start(&setup.drain, &pool));
        consume(&setup.drain, "source", setup.client(), database, Recorder::default());
    }
    let expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    for name in &expected {
        setup.emit(name).await;
    }
    eventually("all events are applied", LIMIT, async || setup.effects().await.len() >= expected.len()).await;
    // A replica that comes last must find nothing to do: all three have reached the end before the count.
    setup.emit("last").await;
    eventually("the last event is applied", LIMIT, async || setup.effects().await.len() > expected.len()).await;
    let effects = setup.effects().await;
    assert_eq!(effects[..200], expected);
    assert_eq!(effects.len(), 201);
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_holds_those_after_it_and_none_before_it() {
    let setup = setup().await;
    let recorder = Recorder::default();
    recorder.poison.lock().unwrap().insert("poison".into());
    setup.emit_together(&["good", "poison", "next"]).await;
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), recorder.clone());
    eventually("three tries", LIMIT, async || recorder.refusals.load(Ordering::SeqCst) >= 3).await;
    assert_eq!(setup.effects().await, ["good"]);
    recorder.poison.lock().unwrap().clear();
    eventually("the rest follows", LIMIT, async || setup.effects().await == ["good", "poison", "next"]).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_is_tried_with_growing_delays() {
    let setup = setup().await;
    let recorder = Recorder::default();
    recorder.poison.lock().unwrap().insert("poison".into());
    setup.emit("poison").await;
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), recorder.clone());
    let tries = || recorder.refusals.load(Ordering::SeqCst);
    eventually("the first try", LIMIT, async || tries() >= 1).await;
    let (start, first) = (tokio::time::Instant::now(), tries());
    eventually("five tries more", LIMIT, async || tries() >= first + 5).await;
    // Halves of 50, 100, 200, 400 and 800 ms are the least.
    assert!(start.elapsed() > Duration::from_millis(700), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_consumer_learns_up_to_when_it_has_applied_everything() {
    let setup = setup().await;
    let recorder = Recorder::default();
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), recorder.clone());
    setup.emit("event").await;
    let after = SystemClock.now();
    let complete = || *recorder.complete.lock().unwrap();
    eventually("completeness", LIMIT, async || complete().is_some_and(|until| until > after)).await;
    assert_eq!(setup.effects().await, ["event"]);
}

#[tokio::test]
async fn a_cursor_that_was_set_back_is_noticed_and_no_event_is_left_out() {
    let setup = setup().await;
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), Recorder::default());
    setup.emit("a").await;
    eventually("the first", LIMIT, async || setup.effects().await == ["a"]).await;
    sqlx::query("update feed_cursors set generation = 0, transaction = 0, sequence = 0")
        .execute(&setup.test.pool)
        .await
        .unwrap();
    setup.emit("b").await;
    eventually("both again", LIMIT, async || setup.effects().await == ["a", "a", "b"]).await;
}

/// Until `recorder` has seen everything that has been emitted.
async fn seen(recorder: &Recorder) {
    let after = SystemClock.now();
    let complete = || *recorder.complete.lock().unwrap();
    eventually("completeness", LIMIT, async || complete().is_some_and(|until| until > after)).await;
}

fn follow(setup: &Setup) -> Recorder {
    let recorder = Recorder::default();
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), recorder.clone());
    recorder
}

#[tokio::test]
async fn events_that_concern_nobody_move_no_cursor_until_one_comes_that_does() {
    let setup = setup().await;
    let recorder = follow(&setup);
    setup.emit("nothing").await;
    setup.emit("nothing").await;
    seen(&recorder).await;
    assert_eq!((setup.cursor().await, setup.effects().await.len()), (None, 0));
    setup.emit_together(&["nothing", "a", "nothing"]).await;
    eventually("the one", LIMIT, async || setup.effects().await == ["a"]).await;
    assert_eq!(setup.cursor().await, Some(5), "past the last that was seen");
}

#[tokio::test]
async fn a_cursor_does_not_stay_behind_many_events_that_concern_nobody() {
    let setup = setup().await;
    let recorder = follow(&setup);
    setup.emit_together(&["nothing"; 499]).await;
    seen(&recorder).await;
    assert_eq!(setup.cursor().await, None);
    setup.emit("nothing").await;
    eventually("the cursor", LIMIT, async || setup.cursor().await == Some(500)).await;
    assert!(setup.effects().await.is_empty());
}

#[tokio::test]
async fn a_cursor_that_was_set_back_is_noticed_by_who_had_seen_more_than_was_stored() {
    let setup = setup().await;
    let recorder = follow(&setup);
    setup.emit("a").await;
    eventually("the first", LIMIT, async || setup.effects().await == ["a"]).await;
    setup.emit("nothing").await;
    seen(&recorder).await;
    let set_back = sqlx::query("update feed_cursors set generation = 0, transaction = 0, sequence = 0");
    set_back.execute(&setup.test.pool).await.unwrap();
    setup.emit("b").await;
    eventually("both again", LIMIT, async || setup.effects().await == ["a", "a", "b"]).await;
}

#[tokio::test]
async fn a_patient_handler_applies_together_what_comes_meanwhile_and_does_not_wait_once_it_is_enough() {
    let setup = setup().await;
    let recorder = Recorder { patience: Duration::from_hours(1), ..Recorder::default() };
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), recorder.clone());
    setup.emit("first").await;
    setup.emit_together(&["one of many"; 499]).await;
    eventually("all", LIMIT, async || setup.effects().await.len() == 500).await;
    let transactions = sqlx::query_scalar::<_, i64>("select count(distinct xmin::text) from effects");
    assert_eq!(transactions.fetch_one(&setup.test.pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_patient_handler_loses_its_patience() {
    let setup = setup().await;
    let recorder = Recorder { patience: Duration::from_millis(300), ..Recorder::default() };
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), recorder.clone());
    setup.emit("alone").await;
    eventually("it is applied", LIMIT, async || setup.effects().await == ["alone"]).await;
}

#[tokio::test]
async fn what_was_passed_over_before_an_event_that_cannot_be_applied_does_not_come_again() {
    let setup = setup().await;
    let recorder = follow(&setup);
    recorder.poison.lock().unwrap().insert("poison".into());
    setup.emit("nothing").await;
    seen(&recorder).await;
    assert_eq!(setup.cursor().await, None);
    setup.emit("poison").await;
    eventually("three tries", LIMIT, async || recorder.refusals.load(Ordering::SeqCst) >= 3).await;
    assert_eq!(setup.cursor().await, Some(1));
}
