//! From a folder to a server that answers: leftovers, initdb, command line, readiness.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::Connection;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::address::{PORT, ROLE};
use crate::binaries::Binaries;
use crate::error::{At, Error};
use crate::home::Home;
use crate::{Durability, Options, processes};

/// How long a server may take to answer: after a crash it first replays the write-ahead log.
pub(crate) const START_LIMIT: Duration = Duration::from_mins(2);

/// Makes the folder ready to be served from, and returns the server's command line. The caller holds the lock.
pub(crate) async fn prepare(home: &Home, options: &Options) -> Result<Vec<OsString>, Error> {
    let binaries = Binaries::examine(&options.binaries, home.account).await?;
    processes::stop_all(home).await?;
    remove_leftovers(home, options)?;
    if home.data().exists() {
        binaries.read_data(&home.data())?;
    } else {
        init(home, options, &binaries).await?;
    }
    home.prepare()?;
    Ok(command_line(home, options, &binaries))
}

fn remove_leftovers(home: &Home, options: &Options) -> Result<(), Error> {
    let (data, throwaway) = (home.data(), home.throwaway_mark());
    if options.durability == Durability::Throwaway {
        if data.exists() && !throwaway.exists() {
            return Err(Error::Kept { home: home.root().to_owned() });
        }
        if data.exists() {
            fs::remove_dir_all(&data).at("remove", &data)?;
        }
    }
    // None of the cluster's processes is left, so that the number in it is nobody's or, by now, a stranger's: then the
    // server would refuse to start.
    let pid = data.join("postmaster.pid");
    if pid.exists() {
        tracing::info!(home = %home.root().display(), "the last owner of this cluster crashed; the server recovers");
        fs::remove_file(&pid).at("remove", &pid)?;
    }
    Ok(())
}

/// Makes the cluster beside its place and then renames it: an interrupted initdb leaves nothing that looks like data.
async fn init(home: &Home, options: &Options, binaries: &Binaries) -> Result<(), Error> {
    let fresh = home.fresh_data()?;
    let initdb = binaries.program("initdb");
    let mut command = home.account.command(&initdb);
    command.arg("-D").arg(&fresh).args(init_arguments(options.durability, binaries.major)).kill_on_drop(true);
    let ran = command.output().await.map_err(|source| Error::Program { program: initdb, source })?;
    if !ran.status.success() {
        let output = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
        return Err(Error::Init { data: home.data(), output });
    }
    if options.durability == Durability::Throwaway {
        File::create(home.throwaway_mark()).at("make", &home.throwaway_mark())?;
    }
    fs::rename(&fresh, home.data()).at("name", &home.data())?;
    File::open(home.root()).and_then(|root| root.sync_all()).at("sync", home.root())
}

/// Sorting and case the same on every machine and version: by code point, with Unicode's letters.
fn init_arguments(durability: Durability, major: u32) -> Vec<String> {
    let mut arguments = vec!["--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust", "--auth-host=reject"];
    if major >= 17 {
        arguments.extend(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    }
    match durability {
        Durability::Durable => arguments.push("--data-checksums"),
        Durability::Throwaway => arguments.push("--no-sync"),
    }
    let role = format!("--username={ROLE}");
    arguments.into_iter().map(str::to_owned).chain([role]).collect()
}

fn command_line(home: &Home, options: &Options, binaries: &Binaries) -> Vec<OsString> {
    let defaults = [
        ("max_connections", "200"),
        ("shared_buffers", "64MB"),
        // An open write transaction holds back every change feed of the cluster.
        ("idle_in_transaction_session_timeout", "60s"),
        ("jit", "off"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("logging_collector", "on"),
        // Seven files, each emptied when its weekday comes again: the log does not grow for ever.
        ("log_filename", "postgres-%a.log"),
        ("log_rotation_age", "1d"),
        ("log_rotation_size", "0"),
        ("log_truncate_on_rotation", "on"),
        ("log_line_prefix", "%m [%p] %q%u@%d/%a "),
    ];
    let unsynced = [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];
    let unsynced = if options.durability == Durability::Throwaway { unsynced.as_slice() } else { &[] };
    let defaults = defaults.iter().chain(unsynced).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut line = vec![binaries.program("postgres").into(), "-D".into(), home.data().into()];
    for (name, value) in defaults.chain(options.settings.iter().cloned()) {
        line.extend(["-c".into(), format!("{name}={value}").into()]);
    }
    line.extend(place_settings(home));
    line
}

/// What this crate relies on; the last word on a setting counts.
fn place_settings(home: &Home) -> Vec<OsString> {
    // A list, in which quotes keep a comma or a space in its place.
    let sockets = home.sockets().to_string_lossy().replace('"', "\"\"");
    let sockets = format!("unix_socket_directories=\"{sockets}\"").into();
    let mut log = OsString::from("log_directory=");
    log.push(home.log());
    let fixed = [format!("cluster_name={}", home.name), format!("port={PORT}"), "listen_addresses=".to_owned()];
    let settings = fixed.into_iter().map(OsString::from).chain([sockets, log, "unix_socket_permissions=0700".into()]);
    settings.flat_map(|setting| ["-c".into(), setting]).collect()
}

/// A shell that runs the script with these arguments, as the server's user.
pub(crate) fn shell(home: &Home, script: &str, arguments: Vec<OsString>, stdin: Stdio) -> Result<Child, Error> {
    let log = home.start_log();
    let output = File::create(&log).at("write", &log)?;
    let errors = output.try_clone().at("write", &log)?;
    let mut command: Command = home.account.command(Path::new("/bin/sh"));
    command.arg("-c").arg(script).arg("sh").args(arguments).stdin(stdin).stdout(output).stderr(errors);
    command.spawn().map_err(|source| Error::Process { action: "start", source })
}

/// Returns when the server answers, or with the reason why it never will.
pub(crate) async fn answers(home: &Home, server: &mut Child) -> Result<(), Error> {
    let address = home.address()?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let ended = server.try_wait().map_err(|source| Error::Process { action: "watch", source })?;
        if ended.is_some() {
            return Err(Error::NotStarted { log: home.log(), output: last_words(home) });
        }
        if let Ok(connection) = address.connect("postgres").await {
            let _ = connection.close().await;
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Silent { sockets: home.sockets(), log: home.log() });
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The end of what the server wrote last, before or after it opened its own log.
fn last_words(home: &Home) -> String {
    let logs = fs::read_dir(home.log()).into_iter().flatten().flatten().map(|entry| entry.path());
    let written = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    let latest = logs.chain([home.start_log()]).max_by_key(written).unwrap_or_default();
    let text = fs::read(latest).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
