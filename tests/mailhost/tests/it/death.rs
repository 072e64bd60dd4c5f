//! What becomes of the servers when the process that started them dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use diwan_mailhost::{MailHost, Options, PASSWORD};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{Imap, LIMIT, eventually, host, send};

/// A process of its own that runs a host, in a folder far too deep for a socket's path; with a mail in it.
async fn host_in_a_process(folder: &TempDir) -> (Child, PathBuf) {
    let state = folder.path().canonicalize().unwrap().join("deep".repeat(30)).join("deeper".repeat(30));
    let mut process = Command::new(env!("CARGO_BIN_EXE_diwan-mailhost"))
        .arg(&state)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut address = async |name: &str| {
        let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().expect("the host starts");
        line.strip_prefix(name).unwrap().trim().parse().unwrap()
    };
    let (imap, smtp) = (address("imap").await, address("smtp").await);
    send(smtp, None, "support@shop.test", "before the death").await.unwrap();
    // A delivery that the death interrupts would be tried again, but not soon.
    let mut imap = Imap::login(imap, "support@shop.test", PASSWORD).await.unwrap();
    eventually("the mail is there", async || imap.inbox_size().await == 1).await;
    (process, state)
}

/// The processes whose root is the host's, as the kernel tells; in a container without ptrace rights only root's.
fn alive(state: &Path) -> Vec<Pid> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let root = state.join("root");
    ids.filter(|id: &i32| fs::read_link(format!("/proc/{id}/root")).is_ok_and(|link| link.starts_with(&root)))
        .map(Pid::from_raw)
        .collect()
}

fn is_supervisor(id: Pid) -> bool {
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.starts_with(b"/bin/sh\0/etc/supervise.sh"))
}

async fn assert_that_the_folder_serves_again(state: &Path) {
    let before = alive(state);
    let host = MailHost::start(Options::new(state)).await.unwrap();
    let now = alive(state);
    assert!(!before.iter().any(|id| now.contains(id)), "{before:?} {now:?}");
    let mut imap = Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
    // Twice is allowed: the SMTP server may have died before it noted the delivery.
    assert_eq!(imap.subjects().await.first().map(String::as_str), Some("before the death"));
    host.stop().await.unwrap();
    assert_eq!(alive(state), []);
}

#[tokio::test]
async fn the_servers_end_when_the_process_that_started_them_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut process, state) = host_in_a_process(&folder).await;
    assert!(!alive(&state).is_empty());
    process.kill().await.unwrap();
    eventually("all ended", async || alive(&state).is_empty()).await;
    assert_that_the_folder_serves_again(&state).await;
}

#[tokio::test]
async fn servers_that_outlive_their_supervisor_are_ended_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut process, state) = host_in_a_process(&folder).await;
    // Nobody is left to see the process die.
    for id in alive(&state).into_iter().filter(|id| is_supervisor(*id)) {
        kill(id, Signal::SIGKILL).unwrap();
    }
    process.kill().await.unwrap();
    assert!(!alive(&state).is_empty(), "the servers run on by themselves");
    assert_that_the_folder_serves_again(&state).await;
}

#[tokio::test]
async fn a_dropped_host_leaves_nothing_running() {
    let (host, folder) = host().await;
    let state = folder.path().canonicalize().unwrap();
    let _still_connected = Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
    assert!(!alive(&state).is_empty());
    drop(host);
    eventually("all ended", async || alive(&state).is_empty()).await;
}
