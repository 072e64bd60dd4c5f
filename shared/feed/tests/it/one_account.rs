//! The events of one account, for who follows only it.

use std::time::{Duration, Instant};

use diwan_feed::{Change, Position, append};
use diwan_proto::{
    feed::v1::{Cursor, WatchEventsRequest, feed_service_server::FeedService as _},
    team::v1::{Team, TeamChanged},
};
use diwan_runtime::{Clock as _, SystemClock, ids};
use futures::{StreamExt as _, future::join_all};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::support::{LIMIT, Setup, setup};

impl Setup {
    async fn emit_of(&self, account: Uuid, name: &str) {
        let done = self.database.transaction("emit", async |tx: &mut PgConnection| write(tx, account, name).await);
        done.await.unwrap();
    }

    /// The names of the first `count` events of `account` after a cursor, and the cursor of the last.
    async fn read_of(
        &self,
        account: Uuid,
        after: Option<Cursor>,
        count: usize,
    ) -> Result<(Vec<String>, Option<Cursor>), Status> {
        let request = WatchEventsRequest { after, account_id: account.to_string() };
        let mut stream = self.server().watch_events(Request::new(request)).await?.into_inner();
        let (mut names, mut last) = (Vec::new(), after);
        while names.len() < count {
            let sent = timeout(LIMIT, stream.next()).await.expect("in time").expect("it goes on")?;
            for event in sent.events {
                assert_eq!(event.account_id, account.to_string());
                last = event.cursor;
                names.push(diwan_feed::Event::try_from(event).map(|event| crate::support::name_of(&event)).unwrap());
            }
        }
        Ok((names, last))
    }
}

async fn write(tx: &mut PgConnection, account: Uuid, name: &str) -> Result<(), diwan_store::Error> {
    let changed = TeamChanged { team: Some(Team { name: name.to_owned(), ..Default::default() }) };
    append(tx, account, SystemClock.now(), &[Change::new(ids::new_id(), 1, &changed)]).await
}

#[tokio::test]
async fn only_its_own_events_come_each_once_wherever_the_reader_was_cut_off() {
    let setup = setup().await;
    let (one, other) = (ids::new_id(), ids::new_id());
    for number in 0..6 {
        setup.emit_of(one, &format!("one {number}")).await;
        setup.emit_of(other, &format!("other {number}")).await;
    }
    let (all, _) = setup.read_of(one, None, 6).await.unwrap();
    assert_eq!(all, (0..6).map(|number| format!("one {number}")).collect::<Vec<_>>());
    let request = WatchEventsRequest { after: None, account_id: one.to_string() };
    let mut stream = setup.server().watch_events(Request::new(request)).await.unwrap().into_inner();
    let events = timeout(LIMIT, stream.next()).await.unwrap().unwrap().unwrap().events;
    for (index, event) in events.iter().enumerate().take(5) {
        let (rest, _) = setup.read_of(one, event.cursor, 5 - index).await.unwrap();
        assert_eq!(rest, all[index + 1..]);
    }
}

#[tokio::test]
async fn an_event_that_commits_late_is_not_lost_to_a_reader_who_is_ahead() {
    let setup = setup().await;
    let account = ids::new_id();
    let mut late = setup.test.pool.acquire().await.unwrap();
    let mut open = late.begin().await.unwrap();
    write(&mut open, account, "late").await.unwrap();
    setup.emit_of(account, "early").await;
    let reading = async { setup.read_of(account, None, 2).await.unwrap().0 };
    let committing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        open.commit().await.unwrap();
    };
    let (names, ()) = tokio::join!(reading, committing);
    assert_eq!(names, ["late", "early"], "in the order of their transactions");
}

#[tokio::test]
async fn a_made_up_cursor_is_gone_and_starts_nothing_over_for_others() {
    let setup = setup().await;
    let account = ids::new_id();
    setup.emit_of(account, "first").await;
    let (_, last) = setup.read_of(account, None, 1).await.unwrap();
    let last = Position::from(last.unwrap());
    let ahead = Cursor { transaction: i64::MAX, ..last.into() };
    let elsewhere = Cursor { generation: last.generation + 1, ..last.into() };
    for made_up in [ahead, elsewhere] {
        let refused = setup.read_of(account, Some(made_up), 1).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        assert_eq!(diwan_fault::reason_of(&refused).as_deref(), Some("CURSOR_GONE"));
    }
    let generation: i64 =
        sqlx::query_scalar("select generation from feed_generation").fetch_one(&setup.test.pool).await.unwrap();
    assert_eq!(generation, last.generation);
}

#[tokio::test]
async fn an_account_without_events_hears_that_nothing_is_missing() {
    let setup = setup().await;
    setup.emit_of(ids::new_id(), "of another").await;
    let request = WatchEventsRequest { after: None, account_id: ids::new_id().to_string() };
    let mut stream = setup.server().watch_events(Request::new(request)).await.unwrap().into_inner();
    let sent = timeout(LIMIT, stream.next()).await.unwrap().unwrap().unwrap();
    assert!(sent.events.is_empty() && sent.complete_until.is_some());
    let request = WatchEventsRequest { after: None, account_id: "\u{1}".into() };
    assert_eq!(setup.server().watch_events(Request::new(request)).await.err().unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn streams_of_one_account_at_one_place_look_as_often_as_one_does_and_miss_nothing() {
    const STREAMS: i64 = 60;
    let setup = setup().await;
    let account = ids::new_id();
    setup.emit_of(account, "first").await;
    let server = setup.server();
    let follow = async || {
        let request = WatchEventsRequest { after: None, account_id: account.to_string() };
        let mut stream = server.watch_events(Request::new(request)).await.unwrap().into_inner();
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "last") {
            for event in timeout(LIMIT, stream.next()).await.unwrap().unwrap().unwrap().events {
                names.push(crate::support::name_of(&event.try_into().unwrap()));
            }
        }
        names
    };
    let writing = async {
        let begun = Instant::now();
        for number in 0..150 {
            setup.emit_of(ids::new_id(), "of another").await;
            if number == 75 {
                setup.emit_of(account, "between").await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        setup.emit_of(account, "last").await;
        begun.elapsed()
    };
    let (read, took) = tokio::join!(join_all((0..STREAMS).map(|_| follow())), writing);
    for names in read {
        assert_eq!(names, ["first", "between", "last"]);
    }
    // Each look reads the generation; who has gone has told the statistics of it.
    setup.test.pool.close().await;
    let mut connection = PgConnection::connect(&setup.test.url).await.unwrap();
    let looks: i64 = sqlx::query_scalar(
        "select seq_scan + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'feed_generation'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    // Twenty a second at most, and those that find something, which each has for itself.
    let most = i64::try_from(took.as_millis() / 25).unwrap() + 6 * STREAMS;
    assert!(looks > 0 && looks < most, "{looks} looks in {took:?}");
}
