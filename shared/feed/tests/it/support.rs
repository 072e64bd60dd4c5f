//! A source and a consumer in one database, and a handler whose effects can be counted.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diwan_feed::{Change, Event, FeedServer, Handler, Position, append};
use diwan_proto::{
    feed::v1::{
        WatchEventsRequest, WatchEventsResponse,
        feed_service_client::FeedServiceClient,
        feed_service_server::{FeedService as _, FeedServiceServer},
    },
    team::v1::{Team, TeamChanged},
};
use diwan_runtime::{Clock as _, Drain, SystemClock, ids};
use diwan_store::{Database, Error, Wake};
use diwan_testkit::TestDatabase;
use futures::StreamExt as _;
use jiff::Timestamp;
use sqlx::{
    PgConnection, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};

pub const LIMIT: Duration = Duration::from_secs(20);

const TABLES: &str = concat!(
    include_str!("../../sql/feed.sql"),
    include_str!("../../sql/cursors.sql"),
    "create table effects (id bigint generated always as identity, name text not null);"
);

pub struct Setup {
    pub test: TestDatabase,
    pub database: Database,
    pub drain: Drain,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

pub async fn setup() -> Setup {
    let step = Migration::new(1, "tables".into(), MigrationType::Simple, TABLES.into_sql_str(), false);
    let test = TestDatabase::new(&Migrator::with_migrations(vec![step])).await;
    let drain = Drain::new();
    let database = Database::new(test.pool.clone(), Wake::start(&drain, &test.pool));
    Setup { test, database, drain }
}

impl Setup {
    pub fn server(&self) -> FeedServer {
        FeedServer::new(self.database.clone(), SystemClock::shared(), self.drain.clone())
    }

    /// A client of the feed without a network.
    pub fn client(&self) -> FeedServiceClient<FeedServiceServer<FeedServer>> {
        FeedServiceClient::new(self.server().into_service())
    }

    /// One event in a transaction of its own.
    pub async fn emit(&self, name: &str) {
        let done = self.database.transaction("emit", async |tx: &mut PgConnection| write(tx, name).await);
        done.await.unwrap();
    }

    /// Many events in one transaction.
    pub async fn emit_together(&self, names: &[&str]) {
        let done = self.database.transaction("emit", async |tx: &mut PgConnection| {
            for name in names {
                write(tx, name).await?;
            }
            Ok::<_, Error>(())
        });
        done.await.unwrap();
    }

    /// The sequence at which the cursor stands.
    pub async fn cursor(&self) -> Option<i64> {
        let stored = sqlx::query_scalar("select sequence from feed_cursors where source = 'source'");
        stored.fetch_optional(&self.test.pool).await.unwrap()
    }

    pub async fn effects(&self) -> Vec<String> {
        effects(&self.test.pool).await
    }

    pub async fn watch(&self, after: Position) -> Watcher {
        let after = (after != Position::START).then(|| after.into());
        let stream = self
            .server()
            .watch_events(Request::new(WatchEventsRequest { after, ..WatchEventsRequest::default() }))
            .await
            .unwrap();
        Watcher {
            stream: stream.into_inner(),
            deadline: Instant::now() + LIMIT,
            seen: Vec::new(),
            last: Position::START,
            complete: None,
        }
    }
}

pub async fn effects(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select name from effects order by id").fetch_all(pool).await.unwrap()
}

pub async fn write(tx: &mut PgConnection, name: &str) -> Result<(), Error> {
    write_at(tx, name, SystemClock.now()).await
}

pub async fn write_at(tx: &mut PgConnection, name: &str, now: Timestamp) -> Result<(), Error> {
    let changed = TeamChanged { team: Some(Team { name: name.to_owned(), ..Default::default() }) };
    append(tx, ids::new_id(), now, &[Change::new(ids::new_id(), 1, &changed)]).await
}

pub fn name_of(event: &Event) -> String {
    event.payload::<TeamChanged>().unwrap().unwrap().team.unwrap().name
}

/// One stream, read by hand, and not for ever: heartbeats alone would keep a test waiting that lost an event.
pub struct Watcher {
    deadline: Instant,
    stream: <FeedServer as diwan_proto::feed::v1::feed_service_server::FeedService>::WatchEventsStream,
    pub seen: Vec<String>,
    pub last: Position,
    pub complete: Option<Timestamp>,
}

impl Watcher {
    pub async fn next(&mut self) -> Result<WatchEventsResponse, Status> {
        let response =
            timeout_at(self.deadline, self.stream.next()).await.expect("in time").expect("the stream goes on")?;
        for event in &response.events {
            let event = Event::try_from(event.clone()).unwrap();
            assert!(event.position > self.last, "{:?} after {:?}", event.position, self.last);
            self.last = event.position;
            self.seen.push(name_of(&event));
        }
        self.complete = response.complete_until.as_ref().and_then(diwan_feed::time::from_proto).or(self.complete);
        Ok(response)
    }

    pub async fn until(&mut self, count: usize) -> &[String] {
        while self.seen.len() < count {
            self.next().await.unwrap();
        }
        &self.seen
    }

    pub async fn ended(&mut self) -> bool {
        timeout_at(self.deadline, self.stream.next()).await.expect("in time").is_none()
    }
}

/// Writes each event's name into `effects`; refuses those in `poison`. Those called `nothing` do not concern it.
#[derive(Clone, Default)]
pub struct Recorder {
    pub poison: Arc<Mutex<BTreeSet<String>>>,
    pub refusals: Arc<AtomicUsize>,
    pub complete: Arc<Mutex<Option<Timestamp>>>,
    pub patience: Duration,
}

impl Handler for Recorder {
    type Error = Error;

    fn concerns(&self, event: &Event) -> bool {
        name_of(event) != "nothing"
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Error> {
        let name = name_of(event);
        sqlx::query("insert into effects (name) values ($1)").bind(&name).execute(tx).await?;
        if self.poison.lock().unwrap().contains(&name) {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return Err(sqlx::Error::Protocol("poison".into()).into());
        }
        Ok(())
    }

    fn complete(&self, until: Timestamp) {
        *self.complete.lock().unwrap() = Some(until);
    }
}
