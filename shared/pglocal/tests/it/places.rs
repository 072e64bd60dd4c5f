//! Folders that are deep, closed, odd or somebody else's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use diwan_pglocal::{Error, Options, Postgres};
use nix::unistd::{User, geteuid};

use crate::support::{ask, binaries, closed_folder, execute, open_folder, postmaster};

/// Deletes a folder outside the temporary ones.
struct Elsewhere(PathBuf);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_still_works_and_leaves_no_folder_behind() {
    let folder = open_folder();
    let deep = folder.path().join("deep-".repeat(20)).join("deeper-".repeat(20));
    let server = Postgres::start(Options::throwaway(binaries(), &deep)).await.unwrap();
    let sockets = PathBuf::from(ask(server.address(), "SHOW unix_socket_directories").await.replace('"', ""));
    assert!(sockets.starts_with("/tmp"), "{}", sockets.display());
    assert_eq!(fs::metadata(&sockets).unwrap().mode() & 0o777, 0o700);
    server.stop().await.unwrap();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn a_path_with_blanks_commas_and_quotes_works() {
    let folder = open_folder();
    let odd = folder.path().join("a b, \"c\" 'd' %e ü $f");
    let server = Postgres::start(Options::new(binaries(), &odd)).await.unwrap();
    assert_eq!(ask(server.address(), "SELECT 'answers'").await, "answers");
    server.stop().await.unwrap();
    Postgres::start(Options::new(binaries(), &odd)).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_socket_folder_that_somebody_else_made_is_refused() {
    let folder = open_folder();
    let deep = folder.path().join("deep-".repeat(20)).join("deeper-".repeat(20));
    let server = Postgres::start(Options::new(binaries(), &deep)).await.unwrap();
    let sockets = PathBuf::from(ask(server.address(), "SHOW unix_socket_directories").await.replace('"', ""));
    server.stop().await.unwrap();

    for mode in [0o777, 0o755] {
        fs::create_dir(&sockets).unwrap();
        fs::set_permissions(&sockets, fs::Permissions::from_mode(mode)).unwrap();
        let refused = Postgres::start(Options::new(binaries(), &deep)).await;
        fs::remove_dir(&sockets).unwrap();
        assert!(matches!(refused, Err(Error::SocketFolder { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_folder_with_other_things_in_it_is_left_alone() {
    let folder = open_folder();
    fs::write(folder.path().join("precious.txt"), "x").unwrap();
    let refused = Postgres::start(Options::throwaway(binaries(), folder.path())).await.unwrap_err();
    assert!(matches!(refused, Error::Foreign { .. }), "{refused}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_folder_without_a_server_is_named_in_the_error() {
    let folder = open_folder();
    let refused = Postgres::start(Options::new(folder.path(), folder.path().join("cluster"))).await.unwrap_err();
    assert!(refused.to_string().contains(folder.path().to_str().unwrap()), "{refused}");
}

/// Only root has this problem: everybody else runs the server as himself.
#[tokio::test]
async fn a_clone_closed_to_the_servers_user_keeps_its_cluster_elsewhere_behind_a_link() {
    if !geteuid().is_root() {
        return;
    }
    let closed = closed_folder();
    let data = closed.path().join("clone/.diwan/postgres");
    let options = Options::new(binaries(), &data);
    let first = Postgres::start(options.clone()).await.unwrap();
    let place = Elsewhere(first.home().to_owned());
    assert!(place.0.starts_with("/var/lib/diwan") && fs::read_link(&data).unwrap() == place.0);
    execute(first.address(), "CREATE TABLE kept AS SELECT 'still here'::text AS word").await;
    let second = Postgres::start(options.clone()).await.unwrap_err();
    assert!(matches!(second, Error::InUse { .. }), "{second}");
    first.stop().await.unwrap();

    let again = Postgres::start(options).await.unwrap();
    assert_eq!(again.home(), place.0);
    assert_eq!(ask(again.address(), "SELECT word FROM kept").await, "still here");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_throwaway_cluster_leaves_nothing_in_its_place_elsewhere_and_starts_again() {
    if !geteuid().is_root() {
        return;
    }
    let closed = closed_folder();
    let options = Options::throwaway(binaries(), closed.path().join("cluster"));
    for _ in 0..2 {
        let server = Postgres::start(options.clone()).await.unwrap();
        let place = server.home().to_owned();
        assert!(place.starts_with("/var/lib/diwan") && place.exists());
        server.stop().await.unwrap();
        assert!(!place.exists());
    }
}

#[tokio::test]
async fn a_cluster_whose_folder_was_closed_later_is_not_moved_or_lost() {
    if !geteuid().is_root() {
        return;
    }
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path().join("clone/cluster"));
    Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o700);
    let refused = Postgres::start(options.clone()).await.unwrap_err();
    assert!(matches!(&refused, Error::Closed { closed, .. } if closed == folder.path()), "{refused}");
    mode(0o755);
    Postgres::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_stays_with_the_user_who_owns_it_when_root_starts_it() {
    if !geteuid().is_root() {
        return;
    }
    let folder = open_folder();
    let options = Options::new(binaries(), folder.path());
    Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let owner = format!("{}:{}", nobody.uid, nobody.gid);
    assert!(Command::new("chown").args(["-R", &owner]).arg(folder.path()).status().unwrap().success());

    let server = Postgres::start(options).await.unwrap();
    let process = fs::metadata(format!("/proc/{}", postmaster(folder.path()).unwrap())).unwrap();
    assert_eq!(process.uid(), nobody.uid.as_raw());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn programs_that_the_servers_user_cannot_reach_are_refused_with_the_folder_in_the_way() {
    if !geteuid().is_root() {
        return;
    }
    let (closed, folder) = (closed_folder(), open_folder());
    fs::copy(binaries().join("postgres"), closed.path().join("postgres")).unwrap();
    let refused = Postgres::start(Options::new(closed.path(), folder.path())).await.unwrap_err();
    assert!(matches!(&refused, Error::Closed { closed: way, .. } if way == closed.path()), "{refused}");
}

#[tokio::test]
async fn nobody_but_the_servers_user_and_root_gets_in() {
    let folder = open_folder();
    let server = Postgres::start(Options::throwaway(binaries(), folder.path())).await.unwrap();
    let owner = fs::metadata(folder.path().join("pgdata")).unwrap().uid();
    assert_ne!(owner, 0);
    for private in ["pgdata", "log", "run"] {
        let found = fs::metadata(folder.path().join(private)).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (0o700, owner), "{private}");
    }
    let rules = "SELECT string_agg(DISTINCT type || ' ' || auth_method, ', ') FROM pg_hba_file_rules";
    assert_eq!(ask(server.address(), rules).await, "host reject, local trust");
    server.stop().await.unwrap();
}
