//! Nothing is skipped, and nothing is promised that does not hold.

use std::time::Duration;

use diwan_feed::{Change, Position, append};
use diwan_proto::team::v1::{Team, TeamChanged};
use diwan_runtime::{Clock as _, SystemClock, ids};
use sqlx::PgConnection;

use crate::support::{setup, write, write_at};

#[tokio::test]
async fn a_transaction_that_began_first_and_commits_last_loses_no_event() {
    let setup = setup().await;
    let mut watcher = setup.watch(Position::START).await;
    let mut slow = setup.test.pool.begin().await.unwrap();
    write(&mut slow, "slow").await.unwrap();
    setup.emit("fast").await;
    // Two more looks of the server, and it still holds back what a plain cursor would have sent.
    watcher.next().await.unwrap();
    watcher.next().await.unwrap();
    assert!(watcher.seen.is_empty(), "{:?}", watcher.seen);
    slow.commit().await.unwrap();
    assert_eq!(watcher.until(2).await, ["slow", "fast"]);
}

#[tokio::test]
async fn a_transaction_that_writes_elsewhere_delays_the_feed_and_loses_nothing() {
    let setup = setup().await;
    let mut other = setup.test.pool.begin().await.unwrap();
    sqlx::query("insert into effects (name) values ('unrelated')").execute(&mut *other).await.unwrap();
    setup.emit("first").await;
    let mut watcher = setup.watch(Position::START).await;
    watcher.next().await.unwrap();
    assert!(watcher.seen.is_empty());
    other.rollback().await.unwrap();
    assert_eq!(watcher.until(1).await, ["first"]);
}

#[tokio::test]
async fn an_event_that_waited_for_another_transaction_comes_well_before_the_next_heartbeat() {
    let setup = setup().await;
    let mut watcher = setup.watch(Position::START).await;
    let mut delays = Vec::new();
    // The best of several, since transactions of other tests delay this feed too.
    for round in 0..8 {
        let mut other = setup.test.pool.begin().await.unwrap();
        sqlx::query("insert into effects (name) values ('unrelated')").execute(&mut *other).await.unwrap();
        setup.emit("waits").await;
        let ended = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            other.rollback().await.unwrap();
            tokio::time::Instant::now()
        };
        let (start, _) = tokio::join!(ended, watcher.until(round + 1));
        delays.push(start.elapsed());
    }
    assert!(delays.iter().min().unwrap() < &Duration::from_millis(300), "{delays:?}");
}

#[tokio::test]
async fn complete_until_stays_before_an_event_that_is_committed_and_not_sent_yet() {
    let setup = setup().await;
    let mut slow = setup.test.pool.begin().await.unwrap();
    write(&mut slow, "slow").await.unwrap();
    let happened = SystemClock.now();
    let mut fast = setup.test.pool.begin().await.unwrap();
    write_at(&mut fast, "fast", happened).await.unwrap();
    fast.commit().await.unwrap();
    let mut watcher = setup.watch(Position::START).await;
    for _ in 0..3 {
        watcher.next().await.unwrap();
        assert!(watcher.complete.unwrap() <= happened, "fast is committed and was not sent");
    }
    slow.rollback().await.unwrap();
    watcher.until(1).await;
    while watcher.complete.unwrap() <= happened {
        watcher.next().await.unwrap();
    }
}

#[tokio::test]
async fn a_heartbeat_says_up_to_when_an_idle_feed_is_complete() {
    let setup = setup().await;
    let mut watcher = setup.watch(Position::START).await;
    watcher.next().await.unwrap();
    let first = watcher.complete.unwrap();
    let start = tokio::time::Instant::now();
    watcher.next().await.unwrap();
    assert!(watcher.complete.unwrap() > first);
    assert!(start.elapsed() < Duration::from_secs(5), "the protocol promises a sign of life every five seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_events_from_16_concurrent_writers_arrive_once_each_and_in_order() {
    let setup = setup().await;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let database = setup.database.clone();
            tokio::spawn(async move {
                for event in 0..64 {
                    let name = format!("{writer}-{event}");
                    let done = database.transaction("emit", async |tx: &mut PgConnection| {
                        write(tx, &name).await?;
                        // Longer transactions than a bare insert, so that commits overtake each other.
                        sqlx::query("select pg_sleep(random() / 200)").execute(tx).await?;
                        Ok::<_, diwan_store::Error>(())
                    });
                    done.await.unwrap();
                }
            })
        })
        .collect();
    let mut watcher = setup.watch(Position::START).await;
    let mut seen = watcher.until(16 * 64).await.to_vec();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 16 * 64);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn the_events_of_a_transaction_come_together_and_large_ones_in_responses_of_bearable_size() {
    let setup = setup().await;
    let (account, now) = (ids::new_id(), SystemClock.now());
    let large = |name: &str| TeamChanged {
        team: Some(Team { name: name.into(), id: "x".repeat(400 * 1024), ..Default::default() }),
    };
    let transactions = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for transaction in transactions {
        let names = [format!("{transaction}0"), format!("{transaction}1")];
        let changes = names.each_ref().map(|name| Change::new(ids::new_id(), 1, &large(name)));
        append(&mut setup.test.pool.acquire().await.unwrap(), account, now, &changes).await.unwrap();
    }
    let mut watcher = setup.watch(Position::START).await;
    while watcher.seen.len() < 2 * transactions.len() {
        let events = watcher.next().await.unwrap().events;
        assert!(events.len() % 2 == 0, "a transaction was cut in two");
        assert!(events.iter().map(prost::Message::encoded_len).sum::<usize>() < 4 * 1024 * 1024);
    }
    assert_eq!(watcher.seen, transactions.map(|name| [format!("{name}0"), format!("{name}1")]).concat());
}

#[tokio::test]
async fn an_event_too_large_for_the_protocol_fails_its_transaction() {
    let setup = setup().await;
    let huge = TeamChanged { team: Some(Team { name: "x".repeat(1024 * 1024), ..Default::default() }) };
    let changes = [Change::new(ids::new_id(), 1, &huge)];
    let mut connection = setup.test.pool.acquire().await.unwrap();
    assert!(append(&mut connection, ids::new_id(), SystemClock.now(), &changes).await.is_err());
}

#[tokio::test]
async fn an_event_whose_commit_rang_no_bell_arrives_with_the_next_heartbeat() {
    let setup = setup().await;
    let mut watcher = setup.watch(Position::START).await;
    watcher.next().await.unwrap();
    write(&mut setup.test.pool.acquire().await.unwrap(), "silent").await.unwrap();
    assert_eq!(watcher.until(1).await, ["silent"]);
}

#[tokio::test]
async fn streams_that_share_their_looks_miss_nothing() {
    let setup = setup().await;
    let mut watchers = Vec::new();
    for _ in 0..4 {
        let mut watcher = setup.watch(Position::START).await;
        watcher.next().await.unwrap();
        watchers.push(watcher);
    }
    for (count, text) in [(1, "first"), (2, "second")] {
        write(&mut setup.test.pool.acquire().await.unwrap(), text).await.unwrap();
        for watcher in &mut watchers {
            assert_eq!(watcher.until(count).await, &["first", "second"][..count]);
        }
    }
}

#[tokio::test]
async fn streams_end_when_the_process_drains() {
    let setup = setup().await;
    let mut watcher = setup.watch(Position::START).await;
    watcher.next().await.unwrap();
    setup.drain.begin();
    assert!(watcher.ended().await);
}
