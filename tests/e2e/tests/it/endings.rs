//! How `diwan` ends when it cannot go on, and what it says then.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use diwan_e2e::installation::postgres_programs;
use diwan_testkit::eventually;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_mins(1);

/// A `diwan run` whose output goes to a file.
struct Run {
    home: TempDir,
    child: Child,
}

impl Run {
    fn start(listen: &str) -> Self {
        let home = TempDir::new().unwrap();
        let child = Self::spawn(home.path(), listen);
        Self { home, child }
    }

    fn spawn(home: &Path, listen: &str) -> Child {
        let output = fs::File::options().create(true).append(true).open(home.join("out")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap().with_file_name("../diwan"));
        command.env("DIWAN_HOME", home).env("DIWAN_LISTEN", listen);
        command.env("DIWAN_POSTGRES_BIN", postgres_programs().unwrap());
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("out")).unwrap()
    }

    async fn says(&self, words: &str) {
        eventually(words, LIMIT, async || self.said().contains(words)).await;
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        eventually("the process ends", LIMIT, async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_lost_postgresql_ends_the_process_with_a_reason_and_the_next_start_goes_on() {
    let mut run = Run::start("127.0.0.1:0");
    run.says("Diwan is ready").await;
    let pid = fs::read_to_string(run.home.path().join("postgres/pgdata/postmaster.pid")).unwrap();
    let postmaster = pid.lines().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(postmaster), Signal::SIGKILL).unwrap();
    assert!(!run.ended().await.success());
    assert!(run.said().contains("PostgreSQL ended although nobody stopped it"), "{}", run.said());

    run.child = Run::spawn(run.home.path(), "127.0.0.1:0");
    eventually("a second start", LIMIT, async || run.said().matches("Diwan is ready").count() == 2).await;
    run.signal(Signal::SIGTERM);
    assert!(run.ended().await.success(), "{}", run.said());
}

#[tokio::test]
async fn a_port_in_use_is_told_before_anything_is_migrated() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut run = Run::start(&taken.local_addr().unwrap().to_string());
    assert!(!run.ended().await.success());
    let said = run.said();
    assert!(said.contains("DIWAN_LISTEN") && said.contains("in use"), "{said}");
    assert!(!said.contains("identity"), "{said}");
}

#[tokio::test]
async fn a_signal_during_the_start_ends_it_in_order() {
    let mut run = Run::start("127.0.0.1:0");
    run.says("PostgreSQL").await;
    run.signal(Signal::SIGINT);
    assert!(run.ended().await.success(), "{}", run.said());
    assert!(!run.said().contains("is ready"), "{}", run.said());
    // Stopped, not abandoned: what a server that runs or crashed would leave is not there.
    assert!(!run.home.path().join("postgres/pgdata/postmaster.pid").exists());
}

#[tokio::test]
async fn a_home_in_use_is_not_started_twice() {
    let run = Run::start("127.0.0.1:0");
    run.says("Diwan is ready").await;
    let mut second = Run::spawn(run.home.path(), "127.0.0.1:0");
    let ended = eventually("the second ends", LIMIT, async || second.try_wait().unwrap()).await;
    assert!(!ended.success());
    assert!(run.said().contains("in use by another process"), "{}", run.said());
}

#[test]
fn an_operators_token_needs_a_name_and_scopes_that_exist() {
    let keys = TempDir::new().unwrap();
    let token = |arguments: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap().with_file_name("../diwan"));
        command.arg("operator-token").args(arguments).env("DIWAN_KEYS", keys.path()).output().unwrap()
    };
    for bad in [
        &["--name", " ", "--scope", "billing.write"][..],
        &["--name", "ada", "--scope", ""],
        &["--name", "ada", "--scope", "billing.wrte"],
        &["--name", "ada", "--scope", "billing.write", "--expires", "25h"],
        &["--name", "ada"],
    ] {
        let output = token(bad);
        assert!(!output.status.success() && output.stdout.is_empty(), "{bad:?}");
    }
    assert!(token(&["--name", "ada", "--scope", "billing.write"]).status.success());
    // A folder that has lost the operators' key gets no new one behind its back: nobody would trust it.
    fs::remove_file(keys.path().join("operator.pem")).unwrap();
    let output = token(&["--name", "ada", "--scope", "billing.write"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("operator.pem"));
    // And an environment that holds something else than text is no reason to fall over.
    fs::remove_file(keys.path().join("trust.json")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap().with_file_name("../diwan"));
    command.args(["operator-token", "--name", "ada", "--scope", "billing.write"]).env("DIWAN_KEYS", keys.path());
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
    assert!(command.env("SOMETHING", odd).status().unwrap().success());
}
