//! A private PostgreSQL cluster in a folder, on a Unix socket, without anything installed or listening on the network.
//!
//! - [`Postgres`] lives as long as the process that started it: the suite binary's database.
//! - [`shared`] gives many short processes (tests, each a process of its own) one throwaway cluster, which outlives them
//!   and stops by itself when none has used it for [`IDLE`].
//! - [`detached`] is the same for a developer who wants a cluster to stay.
//!
//! Everything of a cluster lies in one folder; `home.rs` shows the layout. Linux only: leftovers are found in /proc.

mod account;
mod address;
mod binaries;
pub mod detached;
mod error;
mod home;
mod owned;
mod processes;
mod server;

use std::path::PathBuf;

pub use address::Address;
pub use binaries::{OLDEST_MAJOR, find_binaries};
pub use detached::{Detached, IDLE, shared};
pub use error::Error;
pub use owned::Postgres;

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with `postgres` and `initdb`, see [`find_binaries`].
    pub binaries: PathBuf,
    /// The folder that holds everything of this cluster: an empty or a new one, or one that was used before.
    ///
    /// When root runs Diwan where the server's unprivileged user cannot go, this becomes a link to a folder under
    /// /var/lib/diwan.
    pub data: PathBuf,
    /// The server's settings, name and value; they go before Diwan's own.
    pub settings: Vec<(String, String)>,
    /// What happens to the data.
    pub durability: Durability,
}

impl Options {
    /// A cluster that keeps its data, with Diwan's settings.
    pub fn new(binaries: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        let (binaries, data) = (binaries.into(), data.into());
        Self { binaries, data, settings: Vec::new(), durability: Durability::Durable }
    }

    /// A cluster for tests: nothing is synced, and every start begins with an empty cluster.
    pub fn throwaway(binaries: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self { durability: Durability::Throwaway, ..Self::new(binaries, data) }
    }

    /// Adds a setting of the server.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What happens to the data of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit survives the loss of power.
    Durable,
    /// Nothing is synced to the disk, and nothing survives a stop or the next start: what was not synced cannot be
    /// trusted later.
    Throwaway,
}
