//! The running servers of one host: one process group under a supervising shell.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::error::{Doing, Error, Log};
use crate::{CHROOT, Ports, config};

const GREETING_LIMIT: Duration = Duration::from_secs(15);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Dropping it kills the servers.
#[derive(Debug)]
pub(crate) struct Servers {
    supervisor: Child,
    /// The servers end when this closes; see `supervise.sh`.
    lifeline: Option<ChildStdin>,
}

impl Servers {
    /// Starts the servers in `root`, writing to a new log.
    pub(crate) fn spawn(root: &Path, log: &Path) -> Result<Servers, Error> {
        std::fs::write(log, "").doing("write", log)?;
        let output = OpenOptions::new().append(true).open(log).doing("open", log)?;
        let error_output = output.try_clone().doing("open", log)?;
        let mut supervisor = Command::new(CHROOT)
            .arg(root)
            .args(["/bin/sh", config::SUPERVISE])
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(error_output)
            .spawn()
            .doing("start the mail servers in", root)?;
        let lifeline = supervisor.stdin.take();
        Ok(Servers { supervisor, lifeline })
    }

    /// Returns when every server greets with `name`: what answers on a port need not be ours while ports are contested.
    pub(crate) async fn await_greetings(&mut self, name: &str, ports: Ports, log: &Path) -> Result<(), Error> {
        for (server, port) in [("IMAP", ports.imap), ("SMTP", ports.smtp), ("submission", ports.submission)] {
            timeout(GREETING_LIMIT, self.await_greeting(name, port, log)).await.unwrap_or_else(|_| {
                Err(Error::Silent { server, seconds: GREETING_LIMIT.as_secs(), log: Log::read(log) })
            })?;
        }
        Ok(())
    }

    async fn await_greeting(&mut self, name: &str, port: u16, log: &Path) -> Result<(), Error> {
        while !greeting(port).await.is_some_and(|line| line.contains(name)) {
            if self.supervisor.try_wait().doing("watch the mail servers of", log)?.is_some() {
                return Err(Error::Ended(Log::read(log)));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Lets the servers end in order, for a limited time.
    pub(crate) async fn stop(mut self) {
        drop(self.lifeline.take());
        // Whatever outlasts the limit is killed by Drop.
        let _ = timeout(STOP_LIMIT, self.supervisor.wait()).await;
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The supervisor has an id until it is waited for, and until then the kernel gives its id to no one else.
        if let Some(id) = self.supervisor.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

async fn greeting(port: u16) -> Option<String> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.ok()?;
    Some(line)
}
