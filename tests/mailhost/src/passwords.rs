//! The addresses that have a password of their own, in Dovecot's passwd-file format.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Doing, Error};
use crate::root::DOVECOT;

/// Inside of the root, where it outlives a restart.
pub(crate) const PATH: &str = "/var/lib/dovecot/passwords";

/// Makes sure that the file is there: Dovecot takes a missing one for a fault of the whole lookup.
pub(crate) fn prepare(root: &Path) -> Result<(), Error> {
    let path = file(root);
    if path.exists() { Ok(()) } else { replace(&path, "").doing("write", &path) }
}

/// Sets the password of one address. One call at a time.
pub(crate) fn set(root: &Path, address: &str, password: &str) -> Result<(), Error> {
    // Dovecot takes a user name in lower case.
    let address = address.to_lowercase();
    if !address.contains('@') || address.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
        return Err(Error::Address(address));
    }
    let (path, start) = (file(root), format!("{address}:"));
    let old = fs::read_to_string(&path).doing("read", &path)?;
    let mut text: String = old.split_inclusive('\n').filter(|line| !line.starts_with(&start)).collect();
    text.extend([&start, "{PLAIN.HEX}", &hex::encode(password), "\n"]);
    replace(&path, &text).doing("write", &path)
}

fn file(root: &Path) -> PathBuf {
    root.join(&PATH[1..])
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    chown(&new, Some(DOVECOT), Some(DOVECOT))?;
    // Dovecot reads the file again when its time, in whole seconds, or its length has changed: so each change has a
    // second of its own.
    if let Ok(old) = fs::metadata(path) {
        file.set_modified(file.metadata()?.modified()?.max(old.modified()? + Duration::from_secs(1)))?;
    }
    fs::rename(new, path)
}
