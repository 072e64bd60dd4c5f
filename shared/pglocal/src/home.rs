//! The folder that holds everything of one cluster, and who may use it.
//!
//! ```text
//! lock          held exclusively by whoever runs the cluster
//! users         held shared by the users of a detached cluster
//! pgdata/       the data
//! log/          the server's log, one file a weekday
//! start.log     what the server printed before it wrote its own log
//! run/          the socket (under /tmp when this path would be too long for one)
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::address::{Address, PORT};
use crate::error::{At, Error};

/// Where a cluster goes when root runs Diwan in a folder that the server's user cannot reach.
const ELSEWHERE: &str = "/var/lib/diwan";
/// The longest path of a Unix socket, `sun_path` without its end mark (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// One cluster's folder.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    root: PathBuf,
    /// Who owns it and runs the server.
    pub(crate) account: Account,
    /// A short name that no other folder has.
    pub(crate) name: String,
}

impl Home {
    /// Makes the folder where it is missing, and finds the place where it really lies.
    pub(crate) fn open(asked: &Path) -> Result<Self, Error> {
        let asked = std::path::absolute(asked).at("resolve", asked)?;
        if asked.is_symlink() && !asked.exists() {
            fs::remove_file(&asked).at("remove the dangling link", &asked)?;
        }
        fs::create_dir_all(&asked).at("make the folder", &asked)?;
        let account = Account::choose(&asked.join("pgdata"))?;
        let mut root = asked.canonicalize().at("resolve", &asked)?;
        if let Some(closed) = account.closed_above(&root) {
            root = settle_elsewhere(&asked, &closed, account)?;
        }
        let name = format!("diwan-{}", hex::encode(&Sha256::digest(root.as_os_str().as_bytes())[..8]));
        let home = Self { root, account, name };
        home.claim()?;
        Ok(home)
    }

    /// Refuses a folder with other things in it.
    ///
    /// Under root the folder stays root's, and only what the server writes is given to its user: root changes owners and
    /// permissions of names in here, which that user must not be able to point elsewhere.
    fn claim(&self) -> Result<(), Error> {
        let empty = fs::read_dir(&self.root).at("read", &self.root)?.next().is_none();
        if !empty && !self.root.join("lock").exists() {
            return Err(Error::Foreign { home: self.root.clone() });
        }
        self.open_lock_file("lock")?;
        self.open_lock_file("users")?;
        if self.account.closed_above(&self.data()).is_some() {
            open_to_all(&self.root)?;
        }
        Ok(())
    }

    fn open_lock_file(&self, name: &str) -> Result<File, Error> {
        let path = self.root.join(name);
        if let Ok(file) = File::open(&path) {
            return Ok(file);
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o644).open(&path).at("open", &path)?;
        self.account.give(&path)?;
        Ok(file)
    }

    /// The right to run the cluster, or none when somebody has it.
    ///
    /// Invariant: files of the cluster are changed, and its server started, only by the holder of this lock. The kernel
    /// enforces it (flock(2)) and gives the lock back when the holder dies.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, Error> {
        let file = self.open_lock_file("lock")?;
        taken(file.try_lock(), file, &self.root.join("lock"))
    }

    /// The right to use a detached cluster, or none while it is being stopped.
    pub(crate) fn join(&self) -> Result<Option<Lock>, Error> {
        let file = self.open_lock_file("users")?;
        taken(file.try_lock_shared(), file, &self.users())
    }

    /// Where the cluster lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file whose lock the users of a detached cluster share.
    pub(crate) fn users(&self) -> PathBuf {
        self.root.join("users")
    }

    /// PostgreSQL's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("pgdata")
    }

    /// A new folder for initdb to work in. What interrupted ones left is removed.
    ///
    /// An initdb that lost its owner goes on for a moment, and makes again what was removed: hence a name of its own.
    pub(crate) fn fresh_data(&self) -> Result<PathBuf, Error> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        for entry in fs::read_dir(&self.root).at("read", &self.root)?.flatten() {
            if entry.file_name().as_bytes().starts_with(b"pgdata.new-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = self.root.join(format!("pgdata.new-{}-{number}", std::process::id()));
        fs::create_dir(&folder).at("make the folder", &folder)?;
        self.account.folder(&folder, 0o700)?;
        Ok(folder)
    }

    /// Marks a cluster whose data may be deleted at the next start.
    pub(crate) fn throwaway_mark(&self) -> PathBuf {
        self.root.join("throwaway")
    }

    /// The folder of the logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// What the server prints before it writes its own log.
    pub(crate) fn start_log(&self) -> PathBuf {
        self.root.join("start.log")
    }

    /// The folder of the socket.
    pub(crate) fn sockets(&self) -> PathBuf {
        let near = self.root.join("run");
        let socket = near.join(format!(".s.PGSQL.{PORT}"));
        let fits = socket.to_str().is_some_and(|path| path.len() <= SOCKET_PATH_MAX);
        if fits { near } else { Path::new("/tmp").join(&self.name) }
    }

    /// How the server in this folder is reached.
    pub(crate) fn address(&self) -> Result<Address, Error> {
        Address::in_folder(&self.sockets())
    }

    /// Makes the folders of logs and socket; the socket's is empty and private afterwards.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        self.account.folder(&self.log(), 0o700)?;
        let sockets = self.sockets();
        if self.sockets_are_private()? {
            fs::remove_dir_all(&sockets).at("empty", &sockets)?;
        }
        // It appears under its name only when it is private: others look at it while they wait for the server. And not
        // `create_dir_all`: under /tmp a folder that somebody made just now must not be taken for ours.
        let fresh = sockets.with_extension(std::process::id().to_string());
        fs::create_dir(&fresh).at("make the folder", &fresh)?;
        self.account.folder(&fresh, 0o700)?;
        fs::rename(&fresh, &sockets).at("name", &sockets)
    }

    /// Removes the socket's folder, which may lie outside, after the server has removed the socket.
    pub(crate) fn tidy(&self) {
        // What is left behind is found and emptied by the next start.
        let _ = fs::remove_dir(self.sockets());
    }

    /// Removes the data, and with it a place elsewhere, which nobody would think of removing.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        let folder = if self.root.starts_with(ELSEWHERE) { self.root.clone() } else { self.data() };
        fs::remove_dir_all(&folder).at("remove", &folder)
    }

    /// Whether the socket's folder is there. An error when it belongs to somebody else, who could lure clients away.
    pub(crate) fn sockets_are_private(&self) -> Result<bool, Error> {
        let folder = self.sockets();
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() && self.account.owns(&found) && found.mode() & 0o777 == 0o700 => Ok(true),
            Ok(_) => Err(Error::SocketFolder { folder }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("examine", &folder),
        }
    }
}

/// A lock of flock(2), given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lock(Option<File>);

impl Lock {
    /// Hands the lock over to a child process, as its standard input.
    pub(crate) fn into_stdin(mut self) -> Stdio {
        self.0.take().map_or_else(Stdio::null, Stdio::from)
    }
}

impl Drop for Lock {
    /// Closing the file is not enough: a child that another thread has forked and that has not reached its program yet
    /// has the file too.
    fn drop(&mut self) {
        let _ = self.0.as_ref().map(File::unlock);
    }
}

fn taken(tried: Result<(), TryLockError>, file: File, path: &Path) -> Result<Option<Lock>, Error> {
    match tried {
        Ok(()) => Ok(Some(Lock(Some(file)))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).at("lock", path),
    }
}

/// Makes a new folder outside, and a link to it in the place that was asked for.
///
/// The link is the only way to find it: a clone that is deleted and made again starts with an empty cluster.
fn settle_elsewhere(asked: &Path, closed: &Path, account: Account) -> Result<PathBuf, Error> {
    let elsewhere = Path::new(ELSEWHERE);
    fs::create_dir_all(elsewhere).at("make the folder", elsewhere)?;
    open_to_all(elsewhere)?;
    let place = new_folder(elsewhere)?;
    open_to_all(&place)?;
    // Fails when there is something in it, which cannot be moved while it may be in use.
    let settled = fs::remove_dir(asked).and_then(|()| symlink(&place, asked));
    // Another process may have made its link at the same time; what the link says now holds for both.
    let root = asked.canonicalize().at("resolve", asked)?;
    if settled.is_err() {
        fs::remove_dir(&place).at("remove", &place)?;
    }
    if account.closed_above(&root).is_some() {
        return Err(Error::Closed { path: asked.to_owned(), closed: closed.to_owned() });
    }
    tracing::warn!(asked = %asked.display(), closed = %closed.display(), place = %root.display(),
        "PostgreSQL does not run as root, and its user cannot pass the closed folder: the cluster lies elsewhere");
    Ok(root)
}

/// A new folder under the first free number.
fn new_folder(parent: &Path) -> Result<PathBuf, Error> {
    let mut number = 1;
    loop {
        let folder = parent.join(format!("cluster-{number}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.at("make the folder", &folder).map(|()| folder),
        }
    }
}

/// Whatever the umask says: the server's user has to pass.
fn open_to_all(folder: &Path) -> Result<(), Error> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).at("set the permissions of", folder)
}
