//! Folders, servers, processes and waiting, for the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use diwan_pglocal::{Address, detached, find_binaries};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The server that a developer gets.
pub fn binaries() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    find_binaries(&workspace.join(".diwan")).expect("a PostgreSQL: run deploy/local/postgres.sh")
}

/// That one and every installed one.
pub fn every_version() -> Vec<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = installed.filter(|entry| entry.file_name().to_str().is_some_and(|major| major >= "15"));
    let mut all: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin")).collect();
    all.retain(|bin| bin.join("initdb").exists());
    all.push(binaries());
    all.sort();
    all.dedup();
    all
}

/// A folder that the server's user can reach.
pub fn open_folder() -> TempDir {
    folder(0o755)
}

/// A folder that only its owner can pass.
pub fn closed_folder() -> TempDir {
    folder(0o700)
}

fn folder(mode: u32) -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)).tempdir().unwrap()
}

/// A connection to the database `postgres`.
pub async fn connect(address: &Address) -> PgConnection {
    PgConnection::connect(&address.url("postgres")).await.unwrap()
}

/// Runs a statement in the database `postgres`.
pub async fn execute(address: &Address, statement: &str) {
    let mut connection = connect(address).await;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The single text that a query in the database `postgres` answers.
pub async fn ask(address: &Address, query: &str) -> String {
    let mut connection = connect(address).await;
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
}

/// The main process of the cluster in the folder.
pub fn postmaster(data: &Path) -> Option<i32> {
    detached::status(data).unwrap().map(|(pid, _)| pid)
}

/// Waits for a condition, at most half a minute.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Kills a process the hard way.
pub fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// Whether a process is there and not just waiting to be reaped.
pub fn alive(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The shells that watch over a server: those of the main process's group.
pub fn watchdogs(postmaster: i32) -> Vec<i32> {
    let group = |pid: i32| nix::unistd::getpgid(Some(Pid::from_raw(pid))).ok();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != postmaster && group(*pid).is_some() && group(*pid) == group(postmaster)).collect()
}

/// A process, by default the `diwan-pglocal` program, in a process group of its own that ends with this value.
pub struct Program(pub Child);

impl Program {
    /// Starts it with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self(Self::command(arguments).process_group(0).spawn().unwrap())
    }

    /// The same before it runs.
    pub fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diwan-pglocal"));
        command.args(arguments).env("DIWAN_POSTGRES_BIN", binaries());
        command
    }

    /// Its process id, which is its group's too.
    pub fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}
