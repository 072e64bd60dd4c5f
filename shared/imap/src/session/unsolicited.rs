//! What the server says unasked (RFC 3501, 5.2 and 7): noted at once, kept until taken.

use std::ops::RangeInclusive;

use super::Session;
use crate::{
    error::Kind,
    response::{Data, Status},
    status::Answer,
};

/// Something that nobody asked for, in the order in which it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsolicited {
    /// The folder holds this many messages now.
    Exists(u32),
    /// The message with this sequence number is gone; those after it move up by one.
    Expunge(u32),
    /// The messages with these UIDs are gone (RFC 7162, 3.2.10). Never walk such a range: it may span all numbers.
    Vanished(Vec<RangeInclusive<u32>>),
    /// A message's flags are now these.
    Flags {
        /// Its sequence number.
        number: u32,
        /// Its UID, where the server says it.
        uid: Option<u32>,
        /// All its flags.
        flags: Vec<String>,
    },
    /// Words that the user must be shown (RFC 3501, 7.1, ALERT).
    Alert(String),
}

impl Session {
    /// Everything said unasked since the last call. Call it (or [`Session::idle`], which hands it out as well) now and
    /// then: [`crate::Limits::max_unsolicited`] ends a session that nobody listens to. Selecting a folder forgets what
    /// was said of the one before.
    pub fn take_unsolicited(&mut self) -> Vec<Unsolicited> {
        std::mem::take(&mut self.unsolicited)
    }

    /// Keeps the session's own picture up to date, whoever the data is for.
    pub(super) fn note(&mut self, data: &Data) {
        match data {
            Data::Exists(number) => self.exists = *number,
            Data::Expunge(_) => self.exists = self.exists.saturating_sub(1),
            Data::Capability(names) => self.capabilities = names.iter().map(|name| name.to_ascii_uppercase()).collect(),
            Data::Status(Status::Ok, answer) => self.note_capabilities(answer),
            _ => {}
        }
    }

    pub(super) fn note_capabilities(&mut self, answer: &Answer) {
        if let Some(names) = answer.arguments("CAPABILITY") {
            self.capabilities = names.split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
        }
    }

    /// Keeps what no command took. Data of commands long answered, and warnings (untagged NO), end here.
    pub(super) fn keep(&mut self, data: Data) -> Result<(), Kind> {
        let event = match data {
            Data::Exists(number) => Unsolicited::Exists(number),
            Data::Expunge(number) => Unsolicited::Expunge(number),
            Data::Vanished(uids) => Unsolicited::Vanished(uids),
            Data::Fetch(number, data) => match data.flags {
                Some(flags) => Unsolicited::Flags { number, uid: data.uid, flags },
                None => return Ok(()),
            },
            Data::Status(Status::Bye, answer) => return Err(Kind::Bye(answer)),
            // It cannot be told which command is meant, so no answer can be trusted any more (RFC 3501, 7.1.3).
            Data::Status(Status::Bad, answer) => return Err(Kind::Bad(answer)),
            Data::Status(_, answer) if self.is_replaced(&answer) => return Err(Kind::UidValidityChanged),
            Data::Status(_, answer) if answer.arguments("ALERT").is_some() => Unsolicited::Alert(answer.text),
            _ => return Ok(()),
        };
        if self.unsolicited.len() >= self.limits.max_unsolicited {
            return Err(Kind::Garbage("more unsolicited data than anybody takes"));
        }
        self.unsolicited.push(event);
        Ok(())
    }

    fn is_replaced(&self, answer: &Answer) -> bool {
        let now: Option<u32> = answer.number("UIDVALIDITY");
        now.is_some() && self.selected.is_some() && now != self.selected
    }
}
