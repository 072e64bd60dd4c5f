//! The program `diwan-pglocal`.

use std::fs;
use std::os::unix::process::CommandExt;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::{Program, binaries, open_folder, postmaster, until};

#[test]
fn a_command_gets_the_databases_and_its_exit_code_comes_back() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let ask = r#"test "$("$0" "$DIWAN_IDENTITY_DATABASE_URL" -Atc 'SELECT current_database()')" = identity &&
        test "$("$0" "$DIWAN_TEAM_DATABASE_URL" -Atc 'SELECT current_user')" = diwan && exit 7"#;
    let psql = binaries().join("psql");
    let mut command = Program::command(&["run", "--databases", "identity,team", "--data"]);
    let ended = command.arg(&data).args(["--", "sh", "-c", ask]).arg(psql).status().unwrap();
    assert_eq!(ended.code(), Some(7));
    assert_eq!(postmaster(&data), None);
}

#[test]
fn secrets_of_the_environment_do_not_reach_the_server() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    // The command itself has the variable, so that this would find it in the server's environment too.
    let look = r#"pid=$(head -n1 "$0/pgdata/postmaster.pid"); test -r "/proc/$pid/environ" || exit 2
        grep -q s3cret /proc/self/environ || exit 3; ! grep -q s3cret "/proc/$pid/environ""#;
    let mut command = Program::command(&["run", "--data"]);
    command.arg(&data).args(["--", "sh", "-c", look]).arg(&data);
    assert_eq!(command.env("DIWAN_TEST_KEY", "s3cret").status().unwrap().code(), Some(0));
}

#[tokio::test]
async fn ctrl_c_reaches_the_command_which_can_still_use_the_database() {
    let folder = open_folder();
    let (data, ready) = (folder.path().join("cluster"), folder.path().join("ready"));
    let drain = r#"trap '"$0" "$DIWAN_A_DATABASE_URL" -c "SELECT pg_sleep(0.5)" && exit 5; exit 6' INT
        : > "$1"; while :; do sleep 0.02; done"#;
    let mut command = Program::command(&["run", "--databases", "a", "--data"]);
    command.arg(&data).args(["--", "sh", "-c", drain]).arg(binaries().join("psql")).arg(&ready);
    let mut program = Program(command.process_group(0).spawn().unwrap());
    until("the command runs", || ready.exists()).await;
    // What a terminal does.
    killpg(Pid::from_raw(program.pid()), Signal::SIGINT).unwrap();
    assert_eq!(program.0.wait().unwrap().code(), Some(5));
    assert_eq!(postmaster(&data), None);
}

#[tokio::test]
async fn sigterm_is_passed_on_and_everything_ends() {
    let folder = open_folder();
    let (data, ready) = (folder.path().join("cluster"), folder.path().join("ready"));
    let script = r#": > "$0"; exec sleep 1000"#;
    let (data_name, ready_name) = (data.to_str().unwrap(), ready.to_str().unwrap());
    let mut program = Program::start(&["run", "--data", data_name, "--", "sh", "-c", script, ready_name]);
    until("the command runs", || ready.exists()).await;
    kill(Pid::from_raw(program.pid()), Signal::SIGTERM).unwrap();
    assert_eq!(program.0.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(postmaster(&data), None);
}

#[test]
fn a_command_that_does_not_exist_fails_and_leaves_no_server() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let ended = Program::command(&["run", "--data"]).arg(&data).args(["--", "/no/such/program"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
    assert!(complaint.contains("/no/such/program") && complaint.contains("No such file"), "{complaint}");
    assert_eq!(postmaster(&data), None);
}

#[test]
fn start_status_and_stop_work_from_a_shell() {
    let folder = open_folder();
    let data = folder.path().join("cluster");
    let run = |arguments: &[&str]| {
        let output = Program::command(arguments).arg("--data").arg(&data).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&["status"]), (Some(3), "does not run\n".to_owned()));
    assert!(!data.exists());
    let (code, urls) = run(&["start", "--databases", "team"]);
    assert!(code == Some(0) && urls.starts_with("DIWAN_TEAM_DATABASE_URL=postgres://diwan@"), "{urls}");
    let (code, text) = run(&["status"]);
    assert!(code == Some(0) && text.starts_with("runs as process "), "{text}");
    assert_eq!(run(&["stop"]), (Some(0), "stopped\n".to_owned()));
    assert_eq!(run(&["status"]).0, Some(3));
    assert!(fs::read_dir(data.join("pgdata")).is_ok());
}
