//! Clusters that outlive the process that started them.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::Error;
use crate::home::{Home, Lock};
use crate::{Address, Options, processes, server};

/// How long a [`shared`] cluster stays without users before it stops.
pub const IDLE: Duration = Duration::from_mins(2);

/// How often a condition is looked at that the kernel does not announce.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs the server; arguments: the users' lock file, seconds without users after which it stops (0: never), and the
/// server's command line. Standard input is the cluster's lock, which this shell therefore holds as long as it lives.
///
/// The server is stopped under the exclusive lock on the users' file: whoever holds it shared has a server that stays,
/// and who waits for it finds none and starts one.
const WATCHER: &str = r#"
trap '' HUP INT TERM
users=$1 idle=$2
shift 2
if [ "$idle" -gt 0 ] && ! command -v flock; then
    echo "without the program flock (util-linux) an unused server would never stop"
    exit 1
fi
"$@" </dev/null &
server=$!
watch() {
    step=$((idle / 8 + 1)) quiet=0
    while sleep "$step"; do
        if flock -n -x "$users" true; then quiet=$((quiet + step)); else quiet=0; fi
        if [ "$quiet" -ge "$idle" ]; then
            flock -n -x "$users" sh -c 'while kill -INT "$1"; do sleep 0.1; done' sh "$server"
        fi
    done
}
if [ "$idle" -gt 0 ]; then
    watch </dev/null 2>/dev/null &
    watcher=$!
fi
wait "$server"
status=$?
if [ "$idle" -gt 0 ]; then kill -KILL "$watcher" 2>/dev/null; fi
exit $status
"#;

/// The use of a cluster that outlives this process. While this value lives, the cluster does not stop for want of users.
#[derive(Debug)]
pub struct Detached {
    address: Address,
    /// The shared lock that says that somebody is there; none for a server that is not ours.
    _user: Option<Lock>,
}

impl Detached {
    /// Where it answers.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The URL of a database, as sqlx and libpq (`psql`) read it.
    pub fn url(&self, database: &str) -> String {
        self.address.url(database)
    }

    /// Makes the database where it is missing.
    pub async fn ensure_database(&self, database: &str) -> Result<(), Error> {
        self.address.ensure_database(database).await
    }
}

/// The cluster that all test processes share: the first one starts it, and it stops [`IDLE`] after the last.
///
/// It lies in a folder per major version under [`Options::data`]. `DIWAN_TEST_POSTGRES` (the URL of a superuser's
/// database) names another server to use instead, which is not started or stopped.
pub async fn shared(mut options: Options) -> Result<Detached, Error> {
    if let Some(url) = std::env::var("DIWAN_TEST_POSTGRES").ok().filter(|url| !url.is_empty()) {
        return Ok(Detached { address: Address::parse(&url)?, _user: None });
    }
    let binaries = Binaries::examine(&options.binaries, Account::choose(&options.data)?).await?;
    options.data.push(binaries.major.to_string());
    start(options, Some(IDLE)).await
}

/// Joins the cluster in the folder, and starts it when it does not run. It stops when it has had no users for `idle`
/// (whole seconds), or only by [`stop`].
pub async fn start(options: Options, idle: Option<Duration>) -> Result<Detached, Error> {
    let home = Home::open(&options.data)?;
    let started = timeout(server::START_LIMIT, join_or_launch(&home, &options, idle)).await;
    let user = started.unwrap_or_else(|_| Err(Error::Silent { sockets: home.sockets(), log: home.log() }))?;
    Ok(Detached { address: home.address()?, _user: Some(user) })
}

async fn join_or_launch(home: &Home, options: &Options, idle: Option<Duration>) -> Result<Lock, Error> {
    let user = loop {
        match home.join()? {
            Some(user) => break user,
            None => sleep(PAUSE).await,
        }
    };
    // Somebody who holds the lock is starting the cluster or runs it; when he fails, the next one here tries.
    loop {
        if let Some(lock) = home.lock()? {
            launch(home, options, idle, lock).await?;
            return Ok(user);
        }
        if answers(home).await? {
            return Ok(user);
        }
        sleep(PAUSE).await;
    }
}

async fn answers(home: &Home) -> Result<bool, Error> {
    if !home.sockets_are_private()? {
        return Ok(false);
    }
    match home.address()?.connect("postgres").await {
        Ok(connection) => Ok(connection.close().await.is_ok()),
        Err(_) => Ok(false),
    }
}

async fn launch(home: &Home, options: &Options, idle: Option<Duration>, lock: Lock) -> Result<(), Error> {
    let idle = idle.map_or(0, |idle| idle.as_secs().max(1));
    let mut arguments = vec![OsString::from(home.users()), idle.to_string().into()];
    arguments.extend(server::prepare(home, options).await?);
    let mut watcher = server::shell(home, WATCHER, arguments, lock.into_stdin())?;
    server::answers(home, &mut watcher).await
}

/// Stops the cluster in the folder, whoever uses it. False when none runs there.
pub async fn stop(data: &Path) -> Result<bool, Error> {
    if !data.exists() {
        return Ok(false);
    }
    let home = Home::open(data)?;
    let ran = processes::postmaster(&home).is_some();
    processes::stop_all(&home).await?;
    // Its shell is gone a moment after the server.
    let _lock = loop {
        match home.lock()? {
            Some(lock) => break lock,
            None => sleep(PAUSE).await,
        }
    };
    home.tidy();
    Ok(ran)
}

/// The server's main process and where it answers, when the cluster in the folder runs.
pub fn status(data: &Path) -> Result<Option<(i32, Address)>, Error> {
    if !data.exists() {
        return Ok(None);
    }
    let home = Home::open(data)?;
    let running = processes::postmaster(&home).map(|pid| Ok((pid, home.address()?)));
    running.transpose()
}
