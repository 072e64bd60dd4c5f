//! A cluster that lives and ends with the process.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::home::{Home, Lock};
use crate::{Address, Durability, Options, processes, server};

/// Runs the server until standard input ends: a pipe whose other end only the owner holds, so that the kernel closes it
/// however the owner dies. The signals of a terminal or a service manager are the owner's to act on. Asking once is not
/// enough: a server that has only just been started ignores SIGINT.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r line; while kill -INT "$server"; do sleep 0.1; done; } <&3 3<&- 2>/dev/null &
reader=$!
wait "$server"
status=$?
kill -KILL "$reader" 2>/dev/null
exit $status
"#;

/// How long whoever was killed just now may still hold the lock: until the kernel has taken it apart.
const DYING: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A running private cluster.
///
/// Dropping it, or the death of the process by whatever cause, lets the server shut down in order ("fast": connections
/// are ended, everything is written) without anybody waiting for it; [`Postgres::stop`] waits.
#[derive(Debug)]
pub struct Postgres {
    home: Home,
    address: Address,
    watchdog: Child,
    /// The watchdog's standard input: the server runs while this is open.
    lifeline: Option<ChildStdin>,
    durability: Durability,
    /// Keeps other processes away from the folder.
    _lock: Lock,
}

impl Postgres {
    /// Makes the cluster if the folder is new, cleans up what a crash left (stale files, a server that still runs),
    /// starts the server and returns when it answers. Needs a tokio runtime with I/O and time.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let home = Home::open(&options.data)?;
        let lock = lock(&home).await?;
        let arguments = server::prepare(&home, &options).await?;
        let mut watchdog = server::shell(&home, WATCHDOG, arguments, Stdio::piped())?;
        let lifeline = watchdog.stdin.take();
        server::answers(&home, &mut watchdog).await?;
        let durability = options.durability;
        Ok(Self { address: home.address()?, home, watchdog, lifeline, durability, _lock: lock })
    }

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

    /// The folder where the cluster really lies, see [`Options::data`].
    pub fn home(&self) -> &Path {
        self.home.root()
    }

    /// Returns when the server has ended although nobody stopped it.
    pub async fn ended(&mut self) -> Result<(), Error> {
        self.watchdog.wait().await.map(drop).map_err(|source| Error::Process { action: "watch", source })
    }

    /// Ends the server's connections, lets it write everything to the disk, and returns when it is gone. The data of a
    /// throwaway cluster is gone then too.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.lifeline = None;
        processes::stop_all(&self.home).await?;
        self.ended().await?;
        self.home.tidy();
        if self.durability == Durability::Throwaway { self.home.forget() } else { Ok(()) }
    }
}

/// Whoever starts anew after a kill comes before the kernel is done with the one before.
async fn lock(home: &Home) -> Result<Lock, Error> {
    let deadline = Instant::now() + DYING;
    loop {
        match home.lock()? {
            Some(lock) => return Ok(lock),
            None if Instant::now() < deadline => sleep(LOOK_AGAIN).await,
            None => return Err(Error::InUse { home: home.root().to_owned() }),
        }
    }
}
