//! The servers' packages, unpacked and not installed: where they lie, and unpacking them when they are missing.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{Doing, Error};

/// Names the folder of the unpacked packages, instead of `.diwan/mail/packages` in the workspace.
pub const PACKAGES_VARIABLE: &str = "DIWAN_MAIL_PACKAGES";

// Inside the program rather than beside it: it works wherever the program runs, and in the version that fits.
const SCRIPT: &str = include_str!("../../../deploy/local/debian-packages.sh");

const IN_WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.diwan/mail");

/// [`PACKAGES_VARIABLE`], else `.diwan/mail/packages` in the workspace.
pub(crate) fn default_folder() -> PathBuf {
    std::env::var_os(PACKAGES_VARIABLE).map_or_else(|| Path::new(IN_WORKSPACE).join("packages"), PathBuf::from)
}

/// Runs the script, which does nothing (in a few milliseconds) where all is there, and else says on standard error what
/// it fetches and why.
pub(crate) async fn ensure(folder: &Path) -> Result<(), Error> {
    let status = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "debian-packages.sh", "mail"])
        .arg(folder)
        .stdin(Stdio::null())
        .status()
        .await
        .doing("run a shell to unpack", folder)?;
    if status.success() { Ok(()) } else { Err(Error::Packages(status)) }
}
