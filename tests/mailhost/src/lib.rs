//! A real IMAP server (Dovecot) and a real SMTP server (OpenSMTPD) on loopback, for tests and the demo.
//!
//! Debian's packages of both are unpacked into a folder (`deploy/local/debian-packages.sh`), never installed. Each
//! [`MailHost`] runs its own pair in a chroot inside of its own folder, on its own ports; any number run side by side.
//! The servers change to users of their own, so starting needs root (and `CAP_SYS_CHROOT`, `CAP_MKNOD`: what a plain
//! container has).
//!
//! Mail to any address is accepted and lands in that address's own mailbox; sending through [`MailHost::submission`] and
//! reading through [`MailHost::imap`] take the address as user and [`PASSWORD`], or the one given to
//! [`MailHost::set_password`]. There is no TLS.
//!
//! A mail is in its mailbox some 10 to 25 ms after SMTP accepted it. An IDLE tells of it at once when it has lasted for a
//! second without news, else after half a second.

mod config;
mod error;
mod packages;
mod passwords;
mod processes;
mod queue;
mod root;
mod servers;

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use error::Doing;
pub use error::{Error, Log};
pub use packages::PACKAGES_VARIABLE;
use servers::Servers;

/// The password of every address that has none of its own.
pub const PASSWORD: &str = "loopback-only";

const CHROOT: &str = "/usr/sbin/chroot";
const PORT_ATTEMPTS: usize = 5;

/// How a host is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The host's private folder: mail, queue, configuration, log. Made when missing. Mail in it is kept.
    pub state: PathBuf,
    /// The unpacked packages; filled when missing. By default [`PACKAGES_VARIABLE`], else `.diwan/mail/packages` in the
    /// workspace.
    pub packages: PathBuf,
    /// The ports to listen on, e.g. those of an earlier host that comes back; free ones when not given.
    pub ports: Option<Ports>,
}

impl Options {
    /// Free ports and the default packages.
    pub fn new(state: impl Into<PathBuf>) -> Options {
        Options { state: state.into(), packages: packages::default_folder(), ports: None }
    }
}

/// Where a host listens, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// IMAP (RFC 9051 and 3501).
    pub imap: u16,
    /// SMTP as between mail servers (RFC 5321): no login.
    pub smtp: u16,
    /// Submission (RFC 6409): SMTP for those who have a mailbox here, with AUTH PLAIN or LOGIN.
    pub submission: u16,
}

impl Ports {
    fn free() -> std::io::Result<Ports> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        // All three are held until all are known, so that they differ.
        let (imap, smtp, submission) = (listen()?, listen()?, listen()?);
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Ports { imap: port(&imap)?, smtp: port(&smtp)?, submission: port(&submission)? })
    }
}

/// A running pair of mail servers, private to one folder. Dropping it kills them; so does the death of this process,
/// however it dies.
#[derive(Debug)]
pub struct MailHost {
    servers: Servers,
    root: PathBuf,
    ports: Ports,
    /// Held while passwords are written.
    writing: Mutex<()>,
    /// One host a folder: the kernel gives this lock to one process and takes it back when that process ends.
    _lock: File,
}

impl MailHost {
    /// Starts a host, and returns when all its servers greet. What an earlier host left running in the same folder is
    /// ended first.
    ///
    /// # Errors
    /// [`Error::NotRoot`]; [`Error::InUse`] when another host runs in the folder; and what keeps the servers from running.
    pub async fn start(options: Options) -> Result<MailHost, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        packages::ensure(&options.packages).await?;
        let state = &options.state;
        fs::create_dir_all(state).doing("make", state)?;
        let state = state.canonicalize().doing("find", state)?;
        let lock = lock(&state)?;
        let root = state.join("root");
        let (servers, ports) = start_servers(&options, &root, &state.join("log")).await?;
        Ok(MailHost { servers, root, ports, writing: Mutex::default(), _lock: lock })
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Where mailboxes are read: user and password, no TLS.
    pub fn imap(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.imap).into()
    }

    /// Where mail comes in from outside: for any address, without login.
    pub fn smtp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.smtp).into()
    }

    /// Where an owner of a mailbox sends mail: user and password, no TLS; without login all is refused.
    pub fn submission(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.submission).into()
    }

    /// Gives an address a password of its own, which holds for new logins within a second and outlives a restart.
    ///
    /// # Errors
    /// [`Error::Address`] when it is none.
    pub fn set_password(&self, address: &str, password: &str) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        passwords::set(&self.root, address, password)
    }

    /// Lets mail on its way arrive, ends the servers in order, and returns when no process of theirs is left.
    ///
    /// # Errors
    /// [`Error::Lingering`] when they cannot be ended.
    pub async fn stop(self) -> Result<(), Error> {
        queue::drain(&self.root).await;
        self.servers.stop().await;
        processes::end_all(&self.root).await
    }
}

fn lock(state: &Path) -> Result<File, Error> {
    let path = state.join("lock");
    let file = File::create(&path).doing("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(state.to_owned())),
        Err(TryLockError::Error(error)) => Err(error).doing("lock", &path),
    }
}

/// A port found free may be taken by the time a server binds it; then others are tried.
async fn start_servers(options: &Options, root: &Path, log: &Path) -> Result<(Servers, Ports), Error> {
    let mut attempts_left = if options.ports.is_some() { 1 } else { PORT_ATTEMPTS };
    loop {
        attempts_left -= 1;
        // Whatever an earlier host, or the attempt before, has left.
        processes::end_all(root).await?;
        root::prepare(&options.packages, root)?;
        passwords::prepare(root)?;
        let ports = options.ports.map_or_else(Ports::free, Ok).doing("find free ports for", root)?;
        let name = unique_name();
        config::write(root, &name, ports)?;
        let mut servers = Servers::spawn(root, log)?;
        match servers.await_greetings(&name, ports, log).await {
            Ok(()) => return Ok((servers, ports)),
            Err(Error::Ended(log)) if attempts_left > 0 && log.tells_of_a_taken_port() => {}
            Err(error) => return Err(error),
        }
    }
}

/// A host name that no other running host of this machine has.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("mail-{}-{}.test", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
