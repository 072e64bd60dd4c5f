//! What can go wrong with a mail host.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::{fmt, io};

/// Why a mail host could not be started, changed or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not started as root.
    #[error(
        "starting the mail servers needs root: they run in a chroot, under users of their own (nothing is installed \
         and no mail server of this machine is touched). Start this as root, e.g. with sudo"
    )]
    NotRoot,
    /// Another running mail host uses the folder.
    #[error("another running mail host uses {}", .0.display())]
    InUse(PathBuf),
    /// The script that unpacks the servers' packages failed; it said why on standard error.
    #[error("unpacking the mail servers' packages failed ({0}), see the lines above")]
    Packages(ExitStatus),
    /// No configuration for this version of Dovecot.
    #[error("no configuration for Dovecot {0:?}: made for 2.3 and 2.4")]
    Version(String),
    /// The folder lies on a file system that is mounted with `nodev`.
    #[error("{} lies where device files do not work (mounted with nodev): choose another folder", .0.display())]
    NoDevices(PathBuf),
    /// A server ended while it started.
    #[error("a mail server ended while it started; the end of its log:\n{0}")]
    Ended(Log),
    /// A server did not greet in time.
    #[error("no greeting of {server} within {seconds} s; the end of the log:\n{log}")]
    Silent {
        /// Which one.
        server: &'static str,
        /// How long was waited.
        seconds: u64,
        /// The end of the log.
        log: Log,
    },
    /// Processes of a mail host that do not end.
    #[error("{0} processes of the mail host do not end")]
    Lingering(usize),
    /// An address that cannot have a password of its own.
    #[error("not an address: {0:?}")]
    Address(String),
    /// The operating system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

/// The end of the servers' log.
#[derive(Debug)]
pub struct Log(String);

impl Log {
    const LINES: usize = 20;

    pub(crate) fn read(path: &Path) -> Log {
        let bytes = std::fs::read(path).unwrap_or_default();
        Log(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether a server found its port taken.
    pub(crate) fn tells_of_a_taken_port(&self) -> bool {
        self.0.contains("Address already in use")
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.0.lines().collect();
        f.write_str(&lines[lines.len().saturating_sub(Self::LINES)..].join("\n"))
    }
}

/// Names what was tried, and on what, in an I/O error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::Io { doing, path: path.to_owned(), source: error.into() })
    }
}
