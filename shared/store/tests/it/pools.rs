//! Servers that are not there, and limits that hold.

use std::time::{Duration, Instant};

use diwan_fault::Fault;
use diwan_store::{
    Error,
    pool::{self, Options},
};
use diwan_testkit::{TestDatabase, eventually};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::net::{TcpListener, UnixStream};
use tonic::Code;

use crate::support::{LIMIT, migrator};

async fn database() -> TestDatabase {
    TestDatabase::new(&migrator(&[])).await
}

/// Passes what comes to a TCP port on to the server's socket.
async fn forward(listener: TcpListener, options: PgConnectOptions) {
    let socket = options.get_socket().unwrap().join(format!(".s.PGSQL.{}", options.get_port()));
    loop {
        let (mut inside, mut outside) =
            (UnixStream::connect(&socket).await.unwrap(), listener.accept().await.unwrap().0);
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut outside, &mut inside).await });
    }
}

fn url_at(port: u16, options: &PgConnectOptions) -> String {
    let (user, database) = (options.get_username(), options.get_database().unwrap());
    format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable")
}

#[tokio::test]
async fn a_pool_opens_as_soon_as_a_server_that_was_not_up_answers() {
    let test = database().await;
    let options: PgConnectOptions = test.url.parse().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = url_at(port, &options);
    let opening = tokio::spawn(async move { pool::open(&url, Options::new("test")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!opening.is_finished());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(forward(listener, options));
    let pool = opening.await.unwrap().unwrap();
    assert_eq!(sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_never_comes_up_is_given_up_after_the_limit() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let options = Options { start_limit: Duration::from_millis(300), ..Options::new("test") };
    let error = pool::open(&format!("postgres://x@127.0.0.1:{port}/x"), options).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_eq!(Fault::from(error).code(), Code::Unavailable);
}

#[tokio::test]
async fn a_connection_that_died_while_it_rested_is_not_given_out() {
    let test = database().await;
    let pool = pool::open(&test.url, Options { max_connections: 1, ..Options::new("resting") }).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&pool).await.unwrap();
    sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&test.pool).await.unwrap();
    // One that was in use within the last second is given out untried.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_an_error_at_once() {
    let test = database().await;
    let start = Instant::now();
    let wrong = test.url.replace("/test_", "/no_such_");
    assert!(pool::open(&wrong, Options::new("test")).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "it waited for a server that had answered");
}

async fn open(test: &TestDatabase, change: impl FnOnce(&mut Options)) -> PgPool {
    let mut options = Options::new("limits");
    change(&mut options);
    pool::open(&test.url, options).await.unwrap()
}

async fn failure(pool: &PgPool, statement: &'static str) -> Error {
    sqlx::query(statement).execute(pool).await.unwrap_err().into()
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_ended() {
    let test = database().await;
    let pool = open(&test, |options| options.statement_timeout = Duration::from_millis(100)).await;
    assert!(failure(&pool, "select pg_sleep(30)").await.is_unavailable());
}

#[tokio::test]
async fn a_statement_that_waits_too_long_for_a_lock_is_ended() {
    let test = database().await;
    let pool = open(&test, |options| options.lock_timeout = Duration::from_millis(100)).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *holder).await.unwrap();
    let error = failure(&pool, "select pg_advisory_xact_lock(1)").await;
    assert!(error.is_unavailable() && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_transaction_that_stands_idle_is_ended() {
    let test = database().await;
    let pool = open(&test, |options| options.idle_in_transaction_timeout = Duration::from_millis(100)).await;
    let mut idle = pool.begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *idle).await.unwrap();
    eventually("the server ends the session", LIMIT, async || {
        let there = sqlx::query("select from pg_stat_activity where pid = $1").bind(pid);
        there.fetch_optional(&test.pool).await.unwrap().is_none()
    })
    .await;
    assert!(sqlx::query("select 1").execute(&mut *idle).await.is_err());
}

#[tokio::test]
async fn connections_are_named_after_their_process() {
    let test = database().await;
    let pool = open(&test, |_| ()).await;
    let name: String = sqlx::query_scalar("show application_name").fetch_one(&pool).await.unwrap();
    assert_eq!(name, "limits");
}
