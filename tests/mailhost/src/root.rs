//! The root folder that one host's servers see: the unpacked packages, the users they change to, devices, and the folders
//! they expect. It is made anew at every start, but for `var`, where mail and queue live.
//!
//! The paths and users that the servers have built in thus exist once for each host, and their socket paths stay short,
//! however deep the host's folder lies.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::error::{Doing, Error};

/// User and group, by name and number; numbers that Debian gives to no package by itself.
const USERS: [(&str, u32, &str); 6] = [
    ("root", 0, "/"),
    ("dovecot", DOVECOT, "/nonexistent"),
    ("dovenull", 64902, "/nonexistent"),
    ("vmail", VMAIL, "/var/mail"),
    ("opensmtpd", 64904, "/var/lib/opensmtpd/empty"),
    ("opensmtpq", 64905, "/var/lib/opensmtpd/empty"),
];
pub(crate) const DOVECOT: u32 = 64901;
const VMAIL: u32 = 64903;

/// Folders with mode and owner.
const FOLDERS: [(&str, u32, u32); 8] = [
    ("dev", 0o755, 0),
    ("etc/dovecot", 0o755, 0),
    ("run/dovecot", 0o755, 0),
    ("tmp", 0o1777, 0),
    ("var/lib/dovecot", 0o755, 0),
    ("var/lib/opensmtpd/empty", 0o755, 0),
    ("var/mail", 0o700, VMAIL),
    ("var/spool/smtpd", 0o711, 0),
];

const DEVICES: [(&str, u64); 3] = [("dev/null", 3), ("dev/random", 8), ("dev/urandom", 9)];

/// Makes `root` out of the unpacked `packages`; nothing may run in it.
pub(crate) fn prepare(packages: &Path, root: &Path) -> Result<(), Error> {
    clear(root).doing("clear", root)?;
    link_tree(packages, root).doing("copy the unpacked packages to", root)?;
    make_folders(root).doing("make the folders in", root)?;
    let mail = root.join("var/mail");
    remove_locks(&mail).doing("remove stale locks from", &mail)?;
    write_tables(root).doing("write the system tables in", root)?;
    make_devices(root)
}

fn clear(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        match entry.file_type()? {
            _ if entry.file_name() == "var" => {}
            kind if kind.is_dir() => fs::remove_dir_all(entry.path())?,
            _ => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Copies by hard links, which costs milliseconds; no server writes to what is linked.
fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() {
            link_tree(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else {
            link_file(&source, &target)?;
        }
    }
    Ok(())
}

fn link_file(source: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(source, target) {
        Err(error) if matches!(error.kind(), ErrorKind::CrossesDevices | ErrorKind::TooManyLinks) => {
            fs::copy(source, target).map(drop)
        }
        result => result,
    }
}

fn make_folders(root: &Path) -> io::Result<()> {
    for (name, mode, owner) in FOLDERS {
        let path = root.join(name);
        DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
        chown(&path, Some(owner), Some(owner))?;
    }
    match symlink("/run", root.join("var/run")) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Removes the lock files of a killed Dovecot, which the next would respect for as long as something bears its process id.
fn remove_locks(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_locks(&entry.path())?;
        } else if entry.path().extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_tables(root: &Path) -> io::Result<()> {
    let passwd = USERS.map(|(name, id, home)| format!("{name}:x:{id}:{id}::{home}:/bin/false\n")).concat();
    let group = USERS.map(|(name, id, _)| format!("{name}:x:{id}:\n")).concat();
    fs::write(root.join("etc/passwd"), passwd)?;
    fs::write(root.join("etc/group"), group)?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    // OpenSMTPD looks the name of every client up: in the line above, not at a name server.
    fs::write(root.join("etc/resolv.conf"), "lookup file\n")
}

fn make_devices(root: &Path) -> Result<(), Error> {
    let everybody = Mode::from_bits_truncate(0o666);
    for (name, minor) in DEVICES {
        let path = root.join(name);
        mknod(&path, SFlag::S_IFCHR, everybody, makedev(1, minor)).doing("make the device", &path)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).doing("open up", &path)?;
    }
    let null = root.join("dev/null");
    OpenOptions::new().write(true).open(null).map(drop).map_err(|_| Error::NoDevices(root.to_owned()))
}
