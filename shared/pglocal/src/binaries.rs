//! The server's programs: where they are, and which version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::{At, Error};

/// Diwan's SQL is written for this major version and newer ones.
pub const OLDEST_MAJOR: u32 = 15;

/// A folder with `postgres` and `initdb`: `$DIWAN_POSTGRES_BIN`, else what `deploy/local/postgres.sh` unpacked into
/// `diwan` (the workspace's `.diwan`), else the newest installed PostgreSQL that is new enough.
pub fn find_binaries(diwan: &Path) -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os("DIWAN_POSTGRES_BIN").filter(|value| !value.is_empty()) {
        return Some(PathBuf::from(chosen)).filter(|bin| complete(bin));
    }
    let unpacked = std::path::absolute(diwan).ok()?.join("postgres-18/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    [unpacked].into_iter().chain(installed()).chain(std::env::split_paths(&path)).find(|bin| complete(bin))
}

fn complete(bin: &Path) -> bool {
    ["postgres", "initdb"].iter().all(|program| bin.join(program).is_file())
}

/// Debian's layout, the newest first.
fn installed() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(major, _)| *major >= OLDEST_MAJOR)
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Programs that the server's user can run, of a version that is new enough.
#[derive(Debug)]
pub(crate) struct Binaries {
    bin: PathBuf,
    /// The major version.
    pub(crate) major: u32,
}

impl Binaries {
    /// Runs `postgres --version` as the server's user.
    pub(crate) async fn examine(bin: &Path, account: Account) -> Result<Self, Error> {
        let bin = bin.canonicalize().at("find", bin)?;
        let postgres = bin.join("postgres");
        if let Some(closed) = account.closed_above(&postgres) {
            return Err(Error::Closed { path: bin, closed });
        }
        let ran = account.command(&postgres).arg("--version").output().await;
        let ran = ran.map_err(|source| Error::Program { program: postgres, source })?;
        let version = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        match major(&version) {
            Some(major) if major >= OLDEST_MAJOR => Ok(Self { bin, major }),
            _ => Err(Error::Version { binaries: bin, version }),
        }
    }

    /// The path of one program.
    pub(crate) fn program(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.bin.join(name.as_ref())
    }

    /// Refuses a cluster of another major version.
    pub(crate) fn read_data(&self, data: &Path) -> Result<(), Error> {
        let file = data.join("PG_VERSION");
        let found = std::fs::read_to_string(&file).at("read", &file)?.trim().to_owned();
        if found == self.major.to_string() {
            return Ok(());
        }
        Err(Error::DataVersion { data: data.to_owned(), found, binaries: self.bin.clone(), expected: self.major })
    }
}

/// The 18 of `postgres (PostgreSQL) 18.6 (Debian 18.6-1)` or of `postgres (PostgreSQL) 18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_major_version_is_read_from_releases_betas_and_distributions() {
        assert_eq!(major("postgres (PostgreSQL) 18.6"), Some(18));
        assert_eq!(major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta2"), Some(19));
        assert_eq!(major("postgres (EDB Advanced Server) 15.1"), None);
        assert_eq!(major(""), None);
    }
}
