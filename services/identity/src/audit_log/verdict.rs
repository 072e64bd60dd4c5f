//! What was found of one log, in words for whoever has never seen one.

use std::fmt::{Display, Formatter, Result};

use diwan_proto::identity::v1::AuditFlaw;
use jiff::Timestamp;
use uuid::Uuid;

/// What was found of one log.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Of which account; the nil UUID: of the installation.
    pub account: Uuid,
    /// How many entries are what they were, from the first on.
    pub entries: i64,
    /// How many exported heads there are of it.
    pub heads: usize,
    /// The exported head of the highest number: that, and when it was signed.
    pub last: Option<(i64, Timestamp)>,
    /// A head that was kept after the newest of those here was signed, and when: they are a copy from before.
    pub later: Option<(i64, Timestamp)>,
    /// What follows.
    pub finding: Finding,
}

/// What follows for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Every entry is what it was.
    Sound,
    /// The account was deleted, its log with it.
    Deleted,
    /// The account was deleted, and part of its log is still there: nothing can be said of that.
    BeingDeleted,
    /// The log is not what it was, from this entry on.
    Flawed {
        /// How it shows.
        kind: AuditFlaw,
        /// With which entry.
        number: i64,
    },
    /// A head over this entry was kept, and is not in the folder.
    HeadsMissing {
        /// The entry.
        kept: i64,
    },
}

impl Verdict {
    /// Whether nothing speaks against the log.
    pub fn is_good(&self) -> bool {
        matches!(self.finding, Finding::Sound | Finding::Deleted)
    }

    fn proofs(&self, f: &mut Formatter<'_>) -> Result {
        match self.last {
            None => write!(f, "no head of it was exported, so nothing shows whether it was written anew as a whole"),
            Some((number, at)) => {
                let heads = match self.heads {
                    1 => "the exported head agrees, which is".to_owned(),
                    heads => format!("{heads} exported heads agree, the last"),
                };
                write!(f, "{heads} over entry {number}, signed {at}")
            }
        }?;
        self.later.map_or(Ok(()), |(number, at)| {
            write!(f, "; one over entry {number} was kept {at}, later than any of those here")
        })
    }

    fn flaw(&self, f: &mut Formatter<'_>, kind: AuditFlaw, number: i64) -> Result {
        match kind {
            AuditFlaw::Changed => {
                write!(f, "CHANGED: entry {number} is not what its hash says; it was changed, put in or moved")
            }
            AuditFlaw::Removed => write!(f, "REMOVED: entry {number} is missing, though later ones are there"),
            AuditFlaw::Truncated => {
                write!(f, "TRUNCATED: entry {number} and all after it are missing")?;
                self.last.map_or(Ok(()), |(last, at)| write!(f, "; a head over entry {last} was exported, signed {at}"))
            }
            AuditFlaw::Rewritten => write!(
                f,
                "REWRITTEN: entry {number} agrees with the log, but not with the head that was exported over it; the log was written \
                 anew, from there or before"
            ),
            AuditFlaw::Unspecified => write!(f, "not what it was, from entry {number} on"),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.account {
            account if account.is_nil() => write!(f, "installation: ")?,
            account => write!(f, "account {account}: ")?,
        }
        match self.finding {
            Finding::Sound => {
                write!(f, "sound: {} entries; ", self.entries)?;
                self.proofs(f)
            }
            Finding::Deleted => write!(f, "deleted: its log went with the data of the account"),
            Finding::BeingDeleted => {
                write!(
                    f,
                    "BEING DELETED: the account is gone, and part of its log is still there; verify again when it is gone, too"
                )
            }
            Finding::Flawed { kind, number } => self.flaw(f, kind, number),
            Finding::HeadsMissing { kept } => write!(
                f,
                "HEADS MISSING: the head over entry {kept} was exported and is not among those here; without it nothing shows whether \
                 the log was written anew"
            ),
        }
    }
}
