//! What a crash leaves, and what the next start makes of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use diwan_pglocal::{Options, Postgres, detached};

use crate::support::{
    Program, alive, ask, binaries, every_version, execute, kill_hard, open_folder, postmaster, until, watchdogs,
};

/// A cluster with one row in it, run by another process, and its main process.
async fn run_elsewhere(data: &Path, bin: &Path) -> (Program, i32) {
    let ready = data.with_extension("ready");
    let mut command = Program::command(&["run", "--data", data.to_str().unwrap(), "--", "sh", "-c"]);
    command.args([r#": > "$0"; exec sleep 1000"#, ready.to_str().unwrap()]).env("DIWAN_POSTGRES_BIN", bin);
    let program = Program(command.process_group(0).spawn().unwrap());
    until("the server runs", || ready.exists()).await;
    let (pid, address) = detached::status(data).unwrap().unwrap();
    execute(&address, "CREATE TABLE kept AS SELECT 'still here'::text AS word").await;
    (program, pid)
}

async fn starts_with_its_data(data: &Path, bin: &Path) {
    let server = Postgres::start(Options::new(bin, data)).await.unwrap();
    assert_eq!(ask(server.address(), "SELECT word FROM kept").await, "still here");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_ends_when_its_owner_is_killed_though_the_owners_children_live() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let (owner, server) = run_elsewhere(&data, &binaries()).await;
    kill_hard(owner.pid());
    until("the server is gone", || !alive(server)).await;
    starts_with_its_data(&data, &binaries()).await;
}

#[tokio::test]
async fn a_start_right_after_the_owner_was_killed_waits_for_the_old_server_to_go() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let (mut owner, server) = run_elsewhere(&data, &binaries()).await;
    kill_hard(owner.pid());
    owner.0.wait().unwrap();
    starts_with_its_data(&data, &binaries()).await;
    assert!(!alive(server));
}

#[tokio::test]
async fn a_server_that_outlived_its_owner_is_stopped_by_the_next_start_on_every_version() {
    for bin in every_version() {
        let folder = open_folder();
        let data = folder.path().join("cluster");
        let (mut owner, orphan) = run_elsewhere(&data, &bin).await;
        let shells = watchdogs(orphan);
        assert!(!shells.is_empty());
        shells.into_iter().for_each(kill_hard);
        kill_hard(owner.pid());
        owner.0.wait().unwrap();
        assert_eq!(postmaster(&data), Some(orphan), "nobody was left to stop it");

        starts_with_its_data(&data, &bin).await;
        assert!(!alive(orphan));
    }
}

#[tokio::test]
async fn a_killed_server_is_recovered_from_its_log_on_every_version() {
    for bin in every_version() {
        let folder = open_folder();
        let data = folder.path().join("cluster");
        let (mut owner, server) = run_elsewhere(&data, &bin).await;
        kill_hard(server);
        kill_hard(owner.pid());
        owner.0.wait().unwrap();
        assert!(data.join("pgdata/postmaster.pid").exists());
        starts_with_its_data(&data, &bin).await;
    }
}

#[tokio::test]
async fn a_stale_number_that_now_belongs_to_a_stranger_neither_blocks_the_start_nor_harms_the_stranger() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let options = Options::new(binaries(), &data);
    Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    // The same user, which is what makes the server itself believe in the number.
    let user = fs::metadata(data.join("pgdata")).unwrap().uid();
    let mut stranger = Command::new("sleep").arg("1000").uid(user).spawn().unwrap();
    let pid_file = format!("{}\n{}\n1700000000\n5432\n\n\n", stranger.id(), data.join("pgdata").display());
    fs::write(data.join("pgdata/postmaster.pid"), pid_file).unwrap();

    Postgres::start(options).await.unwrap().stop().await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn an_interrupted_first_start_is_begun_anew() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let program = Program::start(&["run", "--data", data.to_str().unwrap(), "--", "true"]);
    until("initdb is at work", || new_data(&data).is_some_and(|new| new.join("base").exists())).await;
    kill_hard(program.pid());
    drop(program);

    let server = Postgres::start(Options::new(binaries(), &data)).await.unwrap();
    assert_eq!(ask(server.address(), "SELECT 'answers'").await, "answers");
    server.stop().await.unwrap();

    // The first initdb has ended by now, and the next one that is needed clears its work away.
    fs::remove_dir_all(data.join("pgdata")).unwrap();
    Postgres::start(Options::new(binaries(), &data)).await.unwrap().stop().await.unwrap();
    assert_eq!(new_data(&data), None);
}

/// Where initdb works.
fn new_data(home: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(home).into_iter().flatten().flatten();
    let entry = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("pgdata.new"))?;
    Some(entry.path())
}
