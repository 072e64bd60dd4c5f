//! What becomes of cursors when the database is restored, rewound or purged.

use diwan_feed::{Position, consume, purge};
use diwan_runtime::{Clock as _, SystemClock};
use diwan_testkit::eventually;
use sqlx::PgPool;
use tonic::Code;

use crate::support::{LIMIT, Recorder, Setup, setup};

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

/// As a logical restore leaves it: another server, transaction numbers far below those of the events.
async fn restore(pool: &PgPool) {
    // Both at once: a stream that looks between them would be none of a restored database.
    run(
        pool,
        "update feed_generation set origin = 'another server/5';
         update feed_events set xid = (xid::text::bigint + 1000000)::text::xid8",
    )
    .await;
}

async fn seen_up_to(setup: &Setup, count: usize) -> Position {
    let mut watcher = setup.watch(Position::START).await;
    watcher.until(count).await;
    watcher.last
}

async fn refusal(setup: &Setup, after: Position) -> tonic::Status {
    let mut watcher = setup.watch(after).await;
    loop {
        if let Err(status) = watcher.next().await {
            return status;
        }
    }
}

#[tokio::test]
async fn after_a_restore_an_old_cursor_is_refused_and_the_feed_replays_and_goes_on() {
    let setup = setup().await;
    setup.emit("before").await;
    let cursor = seen_up_to(&setup, 1).await;
    restore(&setup.test.pool).await;
    setup.emit("after").await;
    let status = refusal(&setup, cursor).await;
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(diwan_fault::reason_of(&status).as_deref(), Some("CURSOR_GONE"));
    let mut watcher = setup.watch(Position::START).await;
    assert_eq!(watcher.until(2).await, ["before", "after"]);
    assert!(watcher.last > cursor, "a cursor of the new life is higher");
    let mut resumed = setup.watch(watcher.last).await;
    setup.emit("later").await;
    assert_eq!(resumed.until(1).await, ["later"]);
}

#[tokio::test]
async fn a_running_stream_notices_the_restore() {
    let setup = setup().await;
    setup.emit("before").await;
    let mut watcher = setup.watch(Position::START).await;
    watcher.until(1).await;
    restore(&setup.test.pool).await;
    let status = loop {
        if let Err(status) = watcher.next().await {
            break status;
        }
    };
    assert_eq!(diwan_fault::reason_of(&status).as_deref(), Some("CURSOR_GONE"));
}

#[tokio::test]
async fn a_cursor_from_the_future_of_a_rewound_database_is_refused() {
    let setup = setup().await;
    setup.emit("kept").await;
    let mut cursor = seen_up_to(&setup, 1).await;
    cursor.transaction += 1_000_000;
    assert_eq!(refusal(&setup, cursor).await.code(), Code::OutOfRange);
    // The numbers that it has seen will be given again, so every other cursor of that life is void too.
    cursor.transaction -= 1_000_000;
    assert_eq!(refusal(&setup, cursor).await.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_cursor_behind_a_purge_is_refused_and_one_at_its_end_goes_on() {
    let setup = setup().await;
    setup.emit("a").await;
    let behind = seen_up_to(&setup, 1).await;
    setup.emit("b").await;
    setup.emit("c").await;
    let mut at_end = setup.watch(Position::START).await;
    at_end.until(3).await;
    let purged = purge(&setup.test.pool, SystemClock.now()).await.unwrap();
    assert_eq!(purged, 3);
    setup.emit("d").await;
    assert_eq!(refusal(&setup, behind).await.code(), Code::OutOfRange);
    assert_eq!(setup.watch(at_end.last).await.until(1).await, ["d"]);
    assert_eq!(setup.watch(Position::START).await.until(1).await, ["d"]);
}

#[tokio::test]
async fn a_purge_leaves_what_happened_later() {
    let setup = setup().await;
    setup.emit("old").await;
    let middle = SystemClock.now();
    setup.emit("new").await;
    // Only what no running transaction, of another test even, holds back can be purged.
    seen_up_to(&setup, 2).await;
    assert_eq!(purge(&setup.test.pool, middle).await.unwrap(), 1);
    assert_eq!(setup.watch(Position::START).await.until(1).await, ["new"]);
}

#[tokio::test]
async fn a_consumer_whose_cursor_is_gone_replays_and_goes_on_by_itself() {
    let setup = setup().await;
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), Recorder::default());
    setup.emit("before").await;
    let effects = async |wanted: &[&str]| setup.effects().await == wanted;
    eventually("the event is applied", LIMIT, async || effects(&["before"]).await).await;
    restore(&setup.test.pool).await;
    setup.emit("after").await;
    eventually("replay and new event", LIMIT, async || effects(&["before", "before", "after"]).await).await;
}
