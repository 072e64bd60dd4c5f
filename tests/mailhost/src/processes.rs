//! Finding and ending a mail host's processes.
//!
//! A process is known by its root folder, which the kernel names in `/proc/<id>/root`: no other process has a host's
//! private root, so that a recorded id which meanwhile belongs to someone else cannot be hit.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};
use tokio::time::{Instant, sleep};

use crate::error::{Doing, Error};

const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// The processes whose root folder is `root` or lies below it; `root` without symbolic links.
pub(crate) fn inside(root: &Path) -> io::Result<Vec<Pid>> {
    let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // A process that ended meanwhile, or that this one may not look at, has no readable root.
    let is_inside = |id: &i32| fs::read_link(format!("/proc/{id}/root")).is_ok_and(|link| link.starts_with(root));
    Ok(ids.filter(is_inside).map(Pid::from_raw).collect())
}

/// Kills what runs inside of `root`, with its process groups (in a container without ptrace rights only the servers' main
/// processes can be looked at), and returns when all are gone.
pub(crate) async fn end_all(root: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = inside(root).doing("list the processes inside of", root)?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Lingering(left.len()));
        }
        for id in left {
            end(id).doing("end a process inside of", root)?;
        }
        sleep(PAUSE).await;
    }
}

fn end(id: Pid) -> Result<(), Errno> {
    match getpgid(Some(id)).and_then(|group| killpg(group, Signal::SIGKILL)).and_then(|()| kill(id, Signal::SIGKILL)) {
        Err(Errno::ESRCH) => Ok(()),
        result => result,
    }
}
