//! What can go wrong with a private cluster, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a private cluster could not be made, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder given as `binaries` has no server in it, or one that this user cannot run.
    #[error("{program} cannot be run; deploy/local/postgres.sh makes a PostgreSQL available")]
    Program {
        /// The program that was tried.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The server is too old for Diwan's SQL, or did not tell its version.
    #[error("{binaries} has PostgreSQL '{version}', Diwan needs {oldest} or newer", oldest = crate::OLDEST_MAJOR)]
    Version {
        /// The folder of the server's programs.
        binaries: PathBuf,
        /// What the server says about its version.
        version: String,
    },
    /// The cluster was made by another major version; PostgreSQL reads only its own format.
    #[error(
        "the data in {data} was made by PostgreSQL {found}, but the programs in {binaries} are version {expected}: \
         set DIWAN_POSTGRES_BIN to a PostgreSQL {found}, or move the data over with pg_dump or pg_upgrade"
    )]
    DataVersion {
        /// The data folder.
        data: PathBuf,
        /// Major version that the data was made by.
        found: String,
        /// The folder of the server's programs.
        binaries: PathBuf,
        /// Major version of the programs.
        expected: u32,
    },
    /// Another process runs this cluster.
    #[error("the cluster in {home} is in use by another process; stop that one first, or use another folder")]
    InUse {
        /// The cluster's folder.
        home: PathBuf,
    },
    /// The folder holds something that is not a cluster; it would be damaged by making it one.
    #[error("{home} is not empty and is not a cluster of Diwan's; name an empty or a new folder")]
    Foreign {
        /// The folder that was asked for.
        home: PathBuf,
    },
    /// A throwaway start would delete data that was meant to stay.
    #[error("the cluster in {home} keeps its data; a throwaway cluster needs another folder")]
    Kept {
        /// The cluster's folder.
        home: PathBuf,
    },
    /// The server's user cannot get to the folder, and what lies in it already cannot be moved away safely.
    #[error(
        "PostgreSQL refuses to run as root, and the user it would run as cannot pass {closed}: \
         open that folder (chmod o+x) or move {path} elsewhere"
    )]
    Closed {
        /// What has to be reached.
        path: PathBuf,
        /// The folder that is in the way.
        closed: PathBuf,
    },
    /// The system has neither a user `postgres` nor a user `nobody`.
    #[error("PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody' to run it as")]
    NoUser,
    /// Somebody else owns the folder that the socket would lie in.
    #[error("{folder} is not a private folder of this cluster; remove it")]
    SocketFolder {
        /// The folder in question.
        folder: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb could not make a cluster in {data}: {output}")]
    Init {
        /// The folder of the new cluster.
        data: PathBuf,
        /// What initdb printed.
        output: String,
    },
    /// The server ended instead of starting.
    #[error("PostgreSQL did not start; its log is in {log}, and the end of it says: {output}")]
    NotStarted {
        /// Folder of the server's log.
        log: PathBuf,
        /// The last lines that the server printed.
        output: String,
    },
    /// The server runs, but did not answer in time.
    #[error("PostgreSQL does not answer on the socket in {sockets}; its log is in {log}")]
    Silent {
        /// Folder of the socket.
        sockets: PathBuf,
        /// Folder of the server's log.
        log: PathBuf,
    },
    /// A server that should have ended is still there.
    #[error("the PostgreSQL processes {pids:?} of the cluster in {home} do not end")]
    StillRunning {
        /// The cluster's folder.
        home: PathBuf,
        /// Ids of the processes.
        pids: Vec<i32>,
    },
    /// The server refused a statement or a connection.
    #[error("PostgreSQL refused {what}")]
    Sql {
        /// What was tried.
        what: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// `DIWAN_TEST_POSTGRES` is not the URL of a PostgreSQL server.
    #[error("DIWAN_TEST_POSTGRES is not a URL like postgres://user@host/postgres")]
    Url,
    /// A file or folder could not be used.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A process could not be watched or signalled.
    #[error("cannot {action} the server's process")]
    Process {
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Names the file and the action in an I/O error.
pub(crate) trait At<T> {
    /// Turns the error into [`Error::File`].
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File { action, path: path.to_owned(), source })
    }
}
