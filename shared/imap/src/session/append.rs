//! Filing a message, e.g. into Sent.

use super::Session;
use crate::{
    command::Command,
    error::{Error, Kind, Step},
    folder_name::FolderName,
    status::Answer,
};

/// Where an appended message is, where the server says it (UIDPLUS, RFC 4315, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The folder's UIDVALIDITY.
    pub uid_validity: u32,
    /// The message's UID.
    pub uid: u32,
}

impl Session {
    /// APPEND: files a message, e.g. with `["\\Seen"]`. `raw` has CRLF line ends.
    ///
    /// # Errors
    /// After a NO or BAD the message is not there. After any other error it may be: look with
    /// [`Self::uids_with_message_id`] before trying again.
    pub async fn append(&mut self, folder: &FolderName, flags: &[&str], raw: &[u8]) -> Result<Option<Appended>, Error> {
        self.file(folder, flags, raw).await.map_err(Error::at(Step::Command("APPEND")))
    }

    async fn file(&mut self, folder: &FolderName, flags: &[&str], raw: &[u8]) -> Result<Option<Appended>, Kind> {
        if !flags.iter().all(|flag| is_flag(flag)) {
            return Err(Kind::Argument("no valid flag"));
        }
        let command = Command::new("APPEND").string(folder.as_wire())?.word(&format!("({})", flags.join(" ")));
        let answer = self.exchange(command.message(raw), Some).await?;
        Ok(appended(&answer))
    }
}

/// RFC 3501, section 9, `flag`.
fn is_flag(flag: &str) -> bool {
    let atom = flag.strip_prefix('\\').unwrap_or(flag);
    !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte))
}

fn appended(answer: &Answer) -> Option<Appended> {
    let (uid_validity, uid) = answer.arguments("APPENDUID")?.split_once(' ')?;
    Some(Appended { uid_validity: uid_validity.parse().ok()?, uid: uid.parse().ok()? })
}
