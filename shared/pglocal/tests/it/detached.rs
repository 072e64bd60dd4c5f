//! Clusters that many processes share.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use diwan_pglocal::{Options, detached, shared};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Program, alive, ask, binaries, execute, kill_hard, open_folder, postmaster, until, watchdogs};

const BRIEF: Option<Duration> = Some(Duration::from_secs(1));

#[tokio::test]
async fn many_processes_at_once_start_one_cluster() {
    let folder = open_folder();
    let arguments = ["start", "--throwaway", "--idle", "60", "--databases", "a,b", "--data"];
    let starts: Vec<_> = (0..8)
        .map(|_| Program::command(&arguments).arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let answers: Vec<_> = starts.into_iter().map(|start| start.wait_with_output().unwrap()).collect();
    for answer in &answers {
        assert!(answer.status.success());
        assert_eq!(answer.stdout, answers[0].stdout);
    }
    // Had one of them started it a second time, the throwaway cluster would be without the first one's databases.
    let (_, address) = detached::status(folder.path()).unwrap().unwrap();
    let made = "SELECT count(*)::text FROM pg_database WHERE datname IN ('a', 'b')";
    assert_eq!(ask(&address, made).await, "2");
    assert!(detached::stop(folder.path()).await.unwrap());
}

#[tokio::test]
async fn joining_a_running_cluster_takes_a_moment() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let _first = detached::start(options.clone(), BRIEF).await.unwrap();
    let begun = Instant::now();
    let _second = detached::start(options, BRIEF).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    detached::stop(folder.path()).await.unwrap();
}

#[tokio::test]
async fn it_stays_while_used_and_through_a_pause_and_stops_by_itself_afterwards() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let idle = Some(Duration::from_secs(3));
    let first = detached::start(options.clone(), idle).await.unwrap();
    let second = detached::start(options.clone(), idle).await.unwrap();
    let pid = postmaster(folder.path());
    drop(first);
    // Longer than the limit, without a single connection; then a pause that is shorter.
    sleep(Duration::from_millis(4500)).await;
    drop(second);
    sleep(Duration::from_millis(1200)).await;
    let third = detached::start(options, idle).await.unwrap();
    assert_eq!(postmaster(folder.path()), pid);
    drop(third);
    until("it stopped", || postmaster(folder.path()).is_none()).await;
}

#[tokio::test]
async fn a_killed_user_does_not_keep_it_running() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let user = detached::start(options, BRIEF).await.unwrap();
    // Another process with the same claim, ended without a chance to give it back.
    let (users, claimed) = (File::open(folder.path().join("users")).unwrap(), folder.path().join("claimed"));
    let claim = r#"flock -s 0 && : > "$0"; exec sleep 1000"#;
    let other = Command::new("sh").args(["-c", claim]).arg(&claimed).stdin(users).process_group(0).spawn();
    let other = Program(other.unwrap());
    until("the other process has its claim", || claimed.exists()).await;
    drop(user);
    assert!(postmaster(folder.path()).is_some());
    drop(other);
    until("it stopped", || postmaster(folder.path()).is_none()).await;
}

/// The watcher stops the server under the exclusive lock on the users' file.
#[tokio::test]
async fn who_comes_while_it_is_being_stopped_waits_and_gets_one_that_stays() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    drop(detached::start(options.clone(), None).await.unwrap());
    let stopping = File::open(folder.path().join("users")).unwrap();
    stopping.lock().unwrap();
    let mut late = tokio::spawn(detached::start(options, None));
    assert!(timeout(Duration::from_millis(300), &mut late).await.is_err(), "it joined a cluster that is being stopped");
    detached::stop(folder.path()).await.unwrap();
    drop(stopping);
    let late = late.await.unwrap().unwrap();
    assert_eq!(ask(late.address(), "SELECT 'answers'").await, "answers");
    detached::stop(folder.path()).await.unwrap();
}

#[tokio::test]
async fn users_who_come_and_go_around_the_limit_are_never_cut_off() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    for pause in [900, 1000, 1100, 1200, 1300] {
        let user = detached::start(options.clone(), BRIEF).await.unwrap();
        let mut connection = crate::support::connect(user.address()).await;
        for _ in 0..20 {
            sqlx::query("SELECT 1").execute(&mut connection).await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
        drop((connection, user));
        sleep(Duration::from_millis(pause)).await;
    }
    until("it stopped", || postmaster(folder.path()).is_none()).await;
}

#[tokio::test]
async fn without_its_watcher_it_is_replaced_by_the_next_start() {
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    let first = detached::start(options.clone(), None).await.unwrap();
    execute(first.address(), "CREATE TABLE kept AS SELECT 'still here'::text AS word").await;
    let orphan = postmaster(folder.path()).unwrap();
    watchdogs(orphan).into_iter().for_each(kill_hard);
    until("the lock is free", || File::open(folder.path().join("lock")).unwrap().try_lock().is_ok()).await;
    let second = detached::start(options, None).await.unwrap();
    assert!(!alive(orphan));
    assert_eq!(ask(second.address(), "SELECT word FROM kept").await, "still here");
    assert!(detached::stop(folder.path()).await.unwrap());
    assert!(!detached::stop(folder.path()).await.unwrap());
}

#[tokio::test]
async fn tests_share_one_cluster_per_major_version() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let first = shared(options.clone()).await.unwrap();
    first.ensure_database("seen").await.unwrap();
    let second = shared(options).await.unwrap();
    let version = ask(second.address(), "SHOW server_version_num").await;
    let major = &version[..version.len() - 4];
    assert_eq!(ask(second.address(), "SELECT datname::text FROM pg_database WHERE datname = 'seen'").await, "seen");
    assert!(detached::stop(&folder.path().join(major)).await.unwrap());
}
