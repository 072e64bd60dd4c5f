//! The operating system's user that the server runs as: PostgreSQL refuses to run as root.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use tokio::process::Command;

use crate::error::{At, Error};

/// The user that owns the cluster's files and runs the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// True when we are root and have to become this user.
    switch: bool,
}

impl Account {
    /// The present user; for root the owner of the existing cluster in `data`, else `postgres`, else `nobody`.
    pub(crate) fn choose(data: &Path) -> Result<Self, Error> {
        if !geteuid().is_root() {
            let gid = nix::unistd::getegid().as_raw();
            return Ok(Self { uid: geteuid().as_raw(), gid, switch: false });
        }
        if let Some(owner) = fs::metadata(data).ok().filter(|owner| owner.uid() != 0) {
            return Ok(Self { uid: owner.uid(), gid: owner.gid(), switch: true });
        }
        let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or(Error::NoUser)?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch: true })
    }

    /// The folder above `path` (a path without links) that this user cannot pass, if there is one.
    pub(crate) fn closed_above(self, path: &Path) -> Option<PathBuf> {
        if !self.switch {
            return None;
        }
        let closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|folder| !self.may_pass(&folder));
        path.ancestors().skip(1).find(closed).map(Path::to_owned)
    }

    fn may_pass(self, folder: &Metadata) -> bool {
        let bit = match folder {
            own if own.uid() == self.uid => 0o100,
            group if group.gid() == self.gid => 0o010,
            _ => 0o001,
        };
        folder.mode() & bit != 0
    }

    /// Whether the file or folder belongs to this user.
    pub(crate) fn owns(self, file: &Metadata) -> bool {
        file.uid() == self.uid
    }

    /// Makes the folder where it is missing, with these permissions and this owner.
    pub(crate) fn folder(self, path: &Path, mode: u32) -> Result<(), Error> {
        fs::create_dir_all(path).at("make the folder", path)?;
        self.give(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("set the permissions of", path)
    }

    /// Gives the file or folder to this user.
    pub(crate) fn give(self, path: &Path) -> Result<(), Error> {
        if self.switch {
            std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).at("change the owner of", path)?;
        }
        Ok(())
    }

    /// A command that runs as this user, away from the caller's terminal and environment.
    ///
    /// A process group of its own: Ctrl-C must reach Diwan only, which drains before it lets the server go. Of the
    /// environment only what finds programs and libraries: Diwan's holds secrets, and `PG*` would change the server.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir("/").process_group(0);
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}
