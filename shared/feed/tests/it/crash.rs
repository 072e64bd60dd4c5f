//! kill -9 between the effect and the cursor.

use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use diwan_feed::{Event, FeedServer, Handler, consume};
use diwan_proto::feed::v1::feed_service_client::FeedServiceClient;
use diwan_runtime::{Drain, SystemClock};
use diwan_store::{Database, Error, Wake, pool};
use diwan_testkit::eventually;
use sqlx::PgConnection;

use crate::support::{LIMIT, Recorder, name_of, setup};

const URL: &str = "DIWAN_FEED_TEST_URL";

/// Writes the effect, and never comes to the cursor.
struct Hanging;

impl Handler for Hanging {
    type Error = Error;

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Error> {
        sqlx::query("insert into effects (name) values ($1)").bind(name_of(event)).execute(&mut *tx).await?;
        // Tells the test by a lock that outlives no crash.
        sqlx::query("select pg_advisory_lock(42)").execute(tx).await?;
        std::future::pending().await
    }
}

/// Not a test of its own: the process that is killed.
#[tokio::test]
#[ignore = "run by the test below in a process of its own"]
async fn consumer_process() {
    let Ok(url) = env::var(URL) else { return };
    let drain = Drain::new();
    let pool = pool::open(&url, pool::Options::new("killed")).await.unwrap();
    let database = Database::new(pool.clone(), Wake::start(&drain, &pool));
    let server = FeedServer::new(database.clone(), SystemClock::shared(), drain.clone());
    consume(&drain, "source", FeedServiceClient::new(server.into_service()), database, Hanging);
    tokio::time::sleep(Duration::from_mins(1)).await;
}

fn start_process(url: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::consumer_process"])
        .env(URL, url)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_consumer_killed_between_effect_and_cursor_leaves_exactly_one_effect() {
    let setup = setup().await;
    setup.emit("event").await;
    let mut process = start_process(&setup.test.url);
    let written = async || {
        sqlx::query_scalar::<_, bool>(
            "select exists (select from pg_locks l join pg_database d on d.oid = l.database
             where d.datname = current_database() and l.locktype = 'advisory' and l.objid = 42 and l.granted)",
        )
        .fetch_one(&setup.test.pool)
        .await
        .unwrap()
    };
    eventually("the effect is written", LIMIT, async || written().await).await;
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(setup.effects().await.is_empty(), "an effect without its cursor");
    consume(&setup.drain, "source", setup.client(), setup.database.clone(), Recorder::default());
    eventually("the event is applied", LIMIT, async || !setup.effects().await.is_empty()).await;
    setup.emit("next").await;
    eventually("the next one is applied", LIMIT, async || setup.effects().await.len() > 1).await;
    assert_eq!(setup.effects().await, ["event", "next"]);
}
