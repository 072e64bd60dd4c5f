//! Start, use, stop, start again.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diwan_pglocal::{Error, Options, Postgres};

use crate::support::{alive, ask, binaries, every_version, execute, kill_hard, open_folder, postmaster, until};

#[tokio::test]
async fn data_survives_a_restart_on_every_version() {
    for bin in every_version() {
        let folder = open_folder();
        let options = Options::new(&bin, folder.path());
        let first = Postgres::start(options.clone()).await.unwrap();
        execute(first.address(), "CREATE TABLE kept AS SELECT 'still here'::text AS word").await;
        first.stop().await.unwrap();
        assert_eq!(postmaster(folder.path()), None);

        let second = Postgres::start(options).await.unwrap();
        assert_eq!(ask(second.address(), "SELECT word FROM kept").await, "still here");
        second.stop().await.unwrap();
    }
}

#[tokio::test]
async fn every_version_sorts_by_code_point_and_knows_letters_of_all_scripts() {
    for bin in every_version() {
        let folder = open_folder();
        let server = Postgres::start(Options::throwaway(&bin, folder.path())).await.unwrap();
        let sorted = "SELECT string_agg(word, ' ' ORDER BY word) FROM unnest('{b,Z,a,é,عمر}'::text[]) word";
        assert_eq!(ask(server.address(), sorted).await, "Z a b é عمر");
        assert_eq!(ask(server.address(), "SELECT lower('ÀÉΣЖ')").await, "àéσж");
        assert_eq!(ask(server.address(), "SHOW server_encoding").await, "UTF8");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_while_the_first_lives() {
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    let first = Postgres::start(options.clone()).await.unwrap();
    let before = postmaster(folder.path());

    let refused = Postgres::start(options.clone()).await.unwrap_err();
    assert!(matches!(&refused, Error::InUse { home } if home == first.home()), "{refused}");
    assert_eq!(postmaster(folder.path()), before);
    first.stop().await.unwrap();
    Postgres::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn who_starts_while_the_one_before_dies_waits_for_its_end() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let first = Postgres::start(options.clone()).await.unwrap();
    let dying = fs::File::open(first.home().join("lock")).unwrap();
    first.stop().await.unwrap();
    dying.try_lock().unwrap();
    let second = tokio::spawn(Postgres::start(options));
    // It has looked by then; if it has not, the test is passed more easily, never failed.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(dying);
    second.await.unwrap().unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_is_free_after_a_stop_though_another_thread_is_starting_programs() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let done = Arc::new(AtomicBool::new(false));
    let starting: Vec<_> = (0..4)
        .map(|_| {
            let done = done.clone();
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // A program started with another user id is forked, and has every file until it runs.
                    let mut program = Command::new("true");
                    program.uid(nix::unistd::geteuid().as_raw()).status().unwrap();
                }
            })
        })
        .collect();
    for _ in 0..4 {
        Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for thread in starting {
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn dropping_the_value_lets_the_server_shut_down_in_order() {
    let folder = open_folder();
    let server = Postgres::start(Options::new(binaries(), folder.path())).await.unwrap();
    drop(server);
    until("the server is gone", || postmaster(folder.path()).is_none()).await;
    until("its mark is gone", || !folder.path().join("pgdata/postmaster.pid").exists()).await;
    // Nothing to recover: the control file says "shut down".
    let mut control = Command::new(binaries().join("pg_controldata"));
    let control = control.arg(folder.path().join("pgdata")).env("LC_ALL", "C").output().unwrap();
    let control = String::from_utf8(control.stdout).unwrap();
    let state = control.lines().find(|line| line.starts_with("Database cluster state")).unwrap();
    assert!(state.ends_with("shut down"), "{state}");
}

#[tokio::test]
async fn the_owner_learns_that_the_server_ended_by_itself() {
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    let mut server = Postgres::start(options.clone()).await.unwrap();
    kill_hard(postmaster(folder.path()).unwrap());
    tokio::time::timeout(Duration::from_secs(30), server.ended()).await.unwrap().unwrap();
    drop(server);
    Postgres::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn given_settings_win_and_the_network_stays_closed() {
    let folder = open_folder();
    let options = Options::throwaway(binaries(), folder.path());
    let options = options.with("max_connections", "17").with("listen_addresses", "*").with("work_mem", "5MB");
    let server = Postgres::start(options).await.unwrap();
    for (setting, value) in [
        ("max_connections", "17"),
        ("work_mem", "5MB"),
        ("listen_addresses", ""),
        ("idle_in_transaction_session_timeout", "1min"),
        ("fsync", "off"),
    ] {
        assert_eq!(ask(server.address(), &format!("SHOW {setting}")).await, value, "{setting}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_is_made_once_by_many_callers_whatever_its_name() {
    let folder = open_folder();
    let server = Postgres::start(Options::throwaway(binaries(), folder.path())).await.unwrap();
    let name = r#"we"ird; name/ü"#;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let address = server.address().clone();
            tokio::spawn(async move { address.ensure_database(name).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    server.ensure_database(name).await.unwrap();
    let made = "SELECT count(*)::text FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')";
    assert_eq!(ask(server.address(), made).await, "1");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_with_both_versions_named() {
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    fs::write(folder.path().join("pgdata/PG_VERSION"), "14\n").unwrap();

    let refused = Postgres::start(options).await.unwrap_err();
    let Error::DataVersion { found, expected, .. } = &refused else { panic!("{refused}") };
    assert_eq!(found, "14");
    let message = refused.to_string();
    assert!(message.contains("PostgreSQL 14") && message.contains(&format!("version {expected}")), "{message}");
    assert_eq!(postmaster(folder.path()), None);
}

#[tokio::test]
async fn a_throwaway_cluster_starts_empty_and_never_replaces_one_that_keeps_its_data() {
    let folder = open_folder();
    let throwaway = Options::throwaway(binaries(), folder.path());
    let first = Postgres::start(throwaway.clone()).await.unwrap();
    execute(first.address(), "CREATE TABLE gone ()").await;
    first.stop().await.unwrap();
    let second = Postgres::start(throwaway).await.unwrap();
    assert_eq!(ask(second.address(), "SELECT coalesce(to_regclass('gone')::text, 'no table')").await, "no table");
    second.stop().await.unwrap();

    let kept = open_folder();
    Postgres::start(Options::new(binaries(), kept.path())).await.unwrap().stop().await.unwrap();
    let refused = Postgres::start(Options::throwaway(binaries(), kept.path())).await.unwrap_err();
    assert!(matches!(refused, Error::Kept { .. }), "{refused}");
    assert!(kept.path().join("pgdata/PG_VERSION").exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_the_folder_usable() {
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    let refused = Postgres::start(options.clone().with("shared_buffers", "plenty")).await.unwrap_err();
    assert!(matches!(refused, Error::NotStarted { .. }), "{refused}");
    assert!(refused.to_string().contains("shared_buffers"), "{refused}");
    Postgres::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn an_abandoned_start_leaves_no_server() {
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    let start = tokio::spawn(Postgres::start(options));
    until("the server is on its way", || postmaster(folder.path()).is_some() || start.is_finished()).await;
    let pid = postmaster(folder.path());
    start.abort();
    drop(start.await);
    until("the server is gone", || pid.is_none_or(|pid| !alive(pid))).await;
}
