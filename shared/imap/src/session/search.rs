//! Which messages there are.

use std::collections::BTreeSet;

use super::Session;
use crate::{
    command::Command,
    error::{Error, Kind, Step},
    response::Data,
    uid_set,
};

impl Session {
    /// UID SEARCH: the UIDs from `first` on, ascending. An empty answer means that there are none.
    pub async fn uids_from(&mut self, first: u32) -> Result<Vec<u32>, Error> {
        let first = first.max(1);
        let command = Command::new("UID SEARCH").word(&format!("UID {first}:*"));
        let found = self.search(command).await.map_err(Error::at(Step::Command("UID SEARCH")))?;
        // `n:*` is the same as `*:n`: with nothing from n on it finds the last message (RFC 3501, 6.4.8).
        Ok(found.into_iter().filter(|uid| *uid >= first).collect())
    }

    /// UID SEARCH: the messages with this Message-ID (written with its angle brackets), ascending. Tells whether a
    /// message whose APPEND or sending broke off has arrived.
    pub async fn uids_with_message_id(&mut self, message_id: &str) -> Result<Vec<u32>, Error> {
        let step = Error::at(Step::Command("UID SEARCH"));
        let command = Command::new("UID SEARCH").word("HEADER Message-ID").string(message_id.as_bytes());
        let found = self.search(command.map_err(&step)?).await.map_err(&step)?;
        Ok(found.into_iter().collect())
    }

    /// Which of these still exist.
    pub(super) async fn existing(&mut self, uids: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Kind> {
        let set = uid_set::format(uids.iter().copied());
        self.search(Command::new("UID SEARCH").word(&format!("UID {set}"))).await
    }

    async fn search(&mut self, command: Command<'_>) -> Result<BTreeSet<u32>, Kind> {
        self.require_selected()?;
        let mut found: Option<BTreeSet<u32>> = None;
        let take = |data| match data {
            Data::Search(uids) => {
                found.get_or_insert_default().extend(uids);
                None
            }
            data => Some(data),
        };
        self.exchange(command, take).await?;
        // Some servers leave out an empty result. That is only beyond doubt where there is nothing to find.
        match found {
            Some(found) => Ok(found),
            None if self.exists == 0 => Ok(BTreeSet::new()),
            None => Err(Kind::Incomplete("SEARCH")),
        }
    }
}
