//! A session: one command at a time, each to its very end.

mod append;
mod exchange;
mod fetch;
mod folders;
mod idle;
mod login;
mod search;
mod unsolicited;

use std::{collections::BTreeSet, fmt};

use tokio::time::Instant;

pub use self::{
    append::Appended,
    fetch::{Fetched, Message},
    folders::{Folder, Selected, SpecialUse},
    idle::Idle,
    unsolicited::Unsolicited,
};
use crate::{
    command::Command,
    endpoint::Limits,
    error::{Error, Kind, Step},
    response::{Data, Status},
    wire::Wire,
};

/// A session that is signed in. Its methods name the IMAP command they run.
pub struct Session {
    wire: Wire,
    limits: Limits,
    /// In capitals.
    capabilities: BTreeSet<String>,
    /// The command whose answer has not been read to its end. Set before the first byte goes out and cleared only by
    /// its tagged answer: an error or a dropped future in between leaves it set, and no command runs after that.
    in_flight: Option<&'static str>,
    deadline: Instant,
    last_tag: u32,
    /// The UIDVALIDITY of the selected folder.
    selected: Option<u32>,
    /// How many messages the server says the selected folder has.
    exists: u32,
    unsolicited: Vec<Unsolicited>,
}

impl Session {
    pub(crate) fn new(wire: Wire, limits: Limits) -> Self {
        Self {
            wire,
            limits,
            capabilities: BTreeSet::new(),
            in_flight: None,
            deadline: Instant::now(),
            last_tag: 0,
            selected: None,
            exists: 0,
            unsolicited: Vec::new(),
        }
    }

    /// What the server offers to this user, in capitals: `IDLE`, `CONDSTORE`, ...
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().map(String::as_str)
    }

    /// Whether the server offers it; `name` in capitals.
    pub fn offers(&self, name: &str) -> bool {
        self.capabilities.contains(name)
    }

    /// Whether an earlier command broke off, so that every further one is refused.
    pub fn is_poisoned(&self) -> bool {
        self.in_flight.is_some()
    }

    /// NOOP: keeps the session alive and lets the server tell what has changed.
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.exchange(Command::new("NOOP"), Some).await.map_err(Error::at(Step::Command("NOOP")))?;
        Ok(())
    }

    /// LOGOUT, and an orderly end of the connection.
    pub async fn logout(mut self) -> Result<(), Error> {
        let mut bye = false;
        let said = self.exchange(Command::new("LOGOUT"), |data| match data {
            Data::Status(Status::Bye, _) => {
                bye = true;
                None
            }
            data => Some(data),
        });
        let said = said.await;
        self.wire.shutdown(self.limits.silence).await;
        match said {
            Ok(_) => Ok(()),
            // Servers that close right after their BYE have done what was asked.
            Err(Kind::Eof) if bye => Ok(()),
            Err(kind) => Err(Error::at(Step::Command("LOGOUT"))(kind)),
        }
    }

    fn require_usable(&self) -> Result<(), Kind> {
        self.in_flight.map_or(Ok(()), |earlier| Err(Kind::Poisoned(earlier)))
    }

    fn require_selected(&self) -> Result<(), Kind> {
        self.require_usable()?;
        self.selected.map(drop).ok_or(Kind::NotSelected)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("in_flight", &self.in_flight)
            .field("selected", &self.selected)
            .field("exists", &self.exists)
            .finish_non_exhaustive()
    }
}
