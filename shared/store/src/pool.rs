//! Connection pools whose connections give up rather than hang.

use std::time::Duration;

use diwan_runtime::backoff::Backoff;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::Instant;

use crate::Error;

/// How a pool behaves. Start from [`Options::new`].
#[derive(Clone, Debug)]
pub struct Options {
    /// What `pg_stat_activity` shows, e.g. `diwan-team`.
    pub application_name: String,
    /// The most connections at a time.
    pub max_connections: u32,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// The longest that one statement may run.
    pub statement_timeout: Duration,
    /// The longest that one statement may wait for a lock. Shorter than `statement_timeout`, so that the error tells.
    pub lock_timeout: Duration,
    /// The longest that a transaction may stand idle: an open one holds every feed of the cluster back.
    pub idle_in_transaction_timeout: Duration,
    /// How long to wait for a server that is not up yet.
    pub start_limit: Duration,
}

impl Options {
    /// Ten connections, and limits that fit requests.
    pub fn new(application_name: impl Into<String>) -> Self {
        Self {
            application_name: application_name.into(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(10),
            start_limit: Duration::from_secs(30),
        }
    }

    fn connection(&self, url: &str) -> Result<PgConnectOptions, Error> {
        let millis = |limit: Duration| limit.as_millis().to_string();
        Ok(url.parse::<PgConnectOptions>()?.application_name(&self.application_name).options([
            ("statement_timeout", millis(self.statement_timeout)),
            ("lock_timeout", millis(self.lock_timeout)),
            ("idle_in_transaction_session_timeout", millis(self.idle_in_transaction_timeout)),
        ]))
    }
}

/// A connection that has rested for longer is tried before it is given out; one that was in use just now is not: that would be a
/// round trip to the server for each transaction.
const FRESH: Duration = Duration::from_secs(1);

/// Opens a pool, once the server answers.
///
/// # Errors
/// [`Error::Sqlx`]: the URL cannot be read, the server refuses us, or it did not come up within `start_limit`.
pub async fn open(url: &str, options: Options) -> Result<PgPool, Error> {
    let connection = options.connection(url)?;
    wait_for_server(&connection, options.start_limit).await?;
    Ok(PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for >= FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(connection))
}

async fn wait_for_server(options: &PgConnectOptions, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return Ok(connection.close().await?),
            Err(error) if is_starting(&error) && Instant::now() < deadline => {
                tokio::time::sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the server may come up by itself: nobody listens yet, or it says `cannot_connect_now`.
fn is_starting(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    match error {
        sqlx::Error::Io(error) => {
            matches!(error.kind(), ConnectionRefused | ConnectionReset | ConnectionAborted | NotFound | UnexpectedEof)
        }
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "57P03"),
        _ => false,
    }
}
