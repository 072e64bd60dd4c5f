//! Folders: choosing one, and finding out which there are.

use super::{Session, Unsolicited};
use crate::{
    command::Command,
    error::{Error, Kind, Step},
    folder_name::FolderName,
    response::{Data, ListData, Status},
};

/// The folder that is selected now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// UIDs are only comparable under the same value (RFC 3501, 2.3.1.1).
    pub uid_validity: u32,
    /// The UID that the next message will get at the earliest; some servers do not say.
    pub uid_next: Option<u32>,
    /// How many messages there are.
    pub exists: u32,
    /// With CONDSTORE (RFC 7162, 3.1.2.1).
    pub highest_modseq: Option<u64>,
    /// Whether the folder may only be read.
    pub read_only: bool,
}

/// What a folder is for (RFC 6154, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFC's own")]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
}

/// A folder of the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its full path.
    pub name: FolderName,
    /// What separates the levels of the path; none where there are no levels.
    pub delimiter: Option<char>,
    /// What it is for, where the server says it.
    pub special_use: Option<SpecialUse>,
    /// Whether it can hold messages rather than only folders.
    pub selectable: bool,
}

/// What the untagged data of SELECT says.
#[derive(Default)]
struct Told {
    uid_validity: Option<u32>,
    uid_next: Option<u32>,
    exists: Option<u32>,
    highest_modseq: Option<u64>,
}

impl Told {
    fn take(&mut self, data: Data) -> Option<Data> {
        match data {
            Data::Exists(exists) => self.exists = Some(exists),
            Data::Status(Status::Ok, answer) if answer.arguments("ALERT").is_none() => {
                if answer.arguments("CLOSED").is_some() {
                    // Everything before speaks of the folder that was selected until now (RFC 7162, 3.2.11).
                    *self = Self::default();
                }
                self.uid_validity = answer.number("UIDVALIDITY").or(self.uid_validity);
                self.uid_next = answer.number("UIDNEXT").or(self.uid_next);
                self.highest_modseq = answer.number("HIGHESTMODSEQ").or(self.highest_modseq);
            }
            data => return Some(data),
        }
        None
    }
}

impl Session {
    /// SELECT: opens a folder for reading and writing.
    ///
    /// # Errors
    /// Whatever the error, no folder is selected afterwards.
    pub async fn select(&mut self, folder: &FolderName) -> Result<Selected, Error> {
        self.open("SELECT", folder).await.map_err(Error::at(Step::Command("SELECT")))
    }

    /// EXAMINE: opens a folder for reading only.
    ///
    /// # Errors
    /// As [`Self::select`].
    pub async fn examine(&mut self, folder: &FolderName) -> Result<Selected, Error> {
        self.open("EXAMINE", folder).await.map_err(Error::at(Step::Command("EXAMINE")))
    }

    async fn open(&mut self, name: &'static str, folder: &FolderName) -> Result<Selected, Kind> {
        let mut command = Command::new(name).string(folder.as_wire())?;
        if self.offers("CONDSTORE") {
            command = command.word("(CONDSTORE)");
        }
        self.selected = None;
        self.unsolicited.retain(|event| matches!(event, Unsolicited::Alert(_)));
        let mut told = Told::default();
        let answer = self.exchange(command, |data| told.take(data)).await?;
        let uid_validity = told.uid_validity.ok_or(Kind::Incomplete("UIDVALIDITY"))?;
        let exists = told.exists.ok_or(Kind::Incomplete("EXISTS"))?;
        self.selected = Some(uid_validity);
        let read_only = name == "EXAMINE" || answer.arguments("READ-ONLY").is_some();
        Ok(Selected { uid_validity, uid_next: told.uid_next, exists, highest_modseq: told.highest_modseq, read_only })
    }

    /// LIST: all folders, with what each is for where the server knows.
    ///
    /// # Errors
    /// Also when none came: INBOX always exists (RFC 3501, 5.1).
    pub async fn list(&mut self) -> Result<Vec<Folder>, Error> {
        self.all_folders().await.map_err(Error::at(Step::Command("LIST")))
    }

    async fn all_folders(&mut self) -> Result<Vec<Folder>, Kind> {
        let mut command = Command::new("LIST").word("\"\"").word("\"*\"");
        if self.offers("LIST-EXTENDED") && self.offers("SPECIAL-USE") {
            command = command.word("RETURN (SPECIAL-USE)");
        }
        let mut folders = Vec::new();
        let take = |data| match data {
            Data::List(data) => {
                folders.push(folder(data));
                None
            }
            data => Some(data),
        };
        self.exchange(command, take).await?;
        if folders.is_empty() { Err(Kind::Incomplete("LIST")) } else { Ok(folders) }
    }
}

fn folder(data: ListData) -> Folder {
    let has = |name: &str| data.attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case(name));
    Folder {
        delimiter: data.delimiter,
        special_use: data.attributes.iter().find_map(|attribute| special_use(attribute)),
        selectable: !has("\\Noselect") && !has("\\NonExistent"),
        name: FolderName::from_wire(data.name),
    }
}

fn special_use(attribute: &str) -> Option<SpecialUse> {
    match attribute.to_ascii_lowercase().as_str() {
        "\\all" => Some(SpecialUse::All),
        "\\archive" => Some(SpecialUse::Archive),
        "\\drafts" => Some(SpecialUse::Drafts),
        "\\flagged" => Some(SpecialUse::Flagged),
        "\\junk" => Some(SpecialUse::Junk),
        "\\sent" => Some(SpecialUse::Sent),
        "\\trash" => Some(SpecialUse::Trash),
        _ => None,
    }
}
