//! The server's processes that an earlier owner left behind, found in /proc.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::home::Home;

/// How long a fast shutdown may take: it writes everything that is in memory to the disk.
pub(crate) const FAST_SHUTDOWN: Duration = Duration::from_mins(1);
/// How long the processes may take that were told to go at once.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(10);

/// A process of a cluster's server.
struct Found {
    pid: Pid,
    /// The one that started the others and ends them; they end by themselves when it is gone.
    postmaster: bool,
}

/// Ends every process of this cluster's server, whoever started it: in order, and if that takes too long, at once
/// (the next start then recovers from the write-ahead log).
pub(crate) async fn stop_all(home: &Home) -> Result<(), Error> {
    if wait_until_gone(home, FAST_SHUTDOWN, |found| found.postmaster.then_some(Signal::SIGINT)).await? {
        return Ok(());
    }
    if wait_until_gone(home, IMMEDIATE_SHUTDOWN, |_| Some(Signal::SIGQUIT)).await? {
        return Ok(());
    }
    let pids = of(home).iter().map(|found| found.pid.as_raw()).collect();
    Err(Error::StillRunning { home: home.root().to_owned(), pids })
}

/// The server's main process, if it runs.
pub(crate) fn postmaster(home: &Home) -> Option<i32> {
    of(home).iter().find(|found| found.postmaster).map(|found| found.pid.as_raw())
}

async fn wait_until_gone(home: &Home, limit: Duration, how: fn(&Found) -> Option<Signal>) -> Result<bool, Error> {
    let deadline = Instant::now() + limit;
    loop {
        let left = of(home);
        if left.is_empty() || Instant::now() > deadline {
            return Ok(left.is_empty());
        }
        // Again and again: one that has only just been started ignores the first ones.
        signal(&left, how)?;
        sleep(Duration::from_millis(20)).await;
    }
}

fn signal(found: &[Found], how: fn(&Found) -> Option<Signal>) -> Result<(), Error> {
    for process in found {
        match how(process).map_or(Ok(()), |signal| kill(process.pid, signal)) {
            Ok(()) | Err(nix::Error::ESRCH) => {}
            Err(error) => return Err(Error::Process { action: "signal", source: error.into() }),
        }
    }
    Ok(())
}

/// The processes of this cluster, by their command lines: a number in postmaster.pid alone proves nothing, since the
/// kernel gives it to another process one day, and /proc/PID/cwd is closed to root in a container.
fn of(home: &Home) -> Vec<Found> {
    let data = home.data();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        entry.metadata().is_ok_and(|process| home.account.owns(&process)).then_some(pid)
    });
    pids.filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        recognise(&line, &data, &home.name).map(|postmaster| Found { pid: Pid::from_raw(pid), postmaster })
    })
    .collect()
}

/// Whether this is the command line of a process of the cluster, and then whether of its main one.
fn recognise(line: &[u8], data: &Path, name: &str) -> Option<bool> {
    // Children of the main process replace their command line by this title (the setting `cluster_name`).
    if line.starts_with(format!("postgres: {name}: ").as_bytes()) {
        return Some(false);
    }
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let program = arguments.first()?.rsplit(|byte| *byte == b'/').next()?;
    let data = data.as_os_str().as_encoded_bytes();
    (program == b"postgres" && arguments.windows(2).any(|pair| pair == [b"-D".as_slice(), data])).then_some(true)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::recognise;

    fn ours(line: &str) -> Option<bool> {
        recognise(line.replace(' ', "\0").replace('_', " ").as_bytes(), Path::new("/x/pgdata"), "diwan-1")
    }

    #[test]
    fn the_main_process_and_its_children_are_told_apart() {
        assert_eq!(ours("/usr/bin/postgres -D /x/pgdata -c port=5432"), Some(true));
        assert_eq!(ours("postgres:_diwan-1:_checkpointer_"), Some(false));
    }

    #[test]
    fn processes_of_other_clusters_and_other_programs_are_left_alone() {
        for line in [
            "/usr/bin/postgres -D /x/pgdata2",
            "/usr/bin/postgres -D /y -c data=/x/pgdata",
            "postgres:_diwan-12:_checkpointer_",
            "postgres:_checkpointer_",
            "sh -c watch sh /usr/bin/postgres -D /x/pgdata",
            "tail -D /x/pgdata",
            "",
        ] {
            assert_eq!(ours(line), None, "{line}");
        }
    }
}
