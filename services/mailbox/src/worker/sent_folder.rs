//! The Sent folder: what was sent is filed there, and it tells whether a mail of unknown fate has left.

use std::{sync::Arc, time::Duration};

use diwan_imap::Session;
use tokio::time::timeout;

use super::owned::Owned;
use crate::{
    domain::server::Side,
    error::{Error, words},
    imap,
};

/// For all that is done in one session here.
const LIMIT: Duration = Duration::from_mins(1);

/// Files a mail that was sent. It is a convenience for who reads the mailbox elsewhere: should it fail, the log says so and
/// that is all. Many servers file by themselves, so a mail that is there already is left alone.
pub(super) fn file_later(owned: &Arc<Owned>, message_id: String, raw: Vec<u8>) {
    let filing = owned.clone();
    owned.shared.drain.spawn(async move {
        let _one_at_a_time = filing.second_session.lock().await;
        let filed = timeout(LIMIT, filing.part.unless_begun(file(&filing, &message_id, &raw)));
        match filed.await {
            Ok(Some(Ok(())) | None) => {}
            Ok(Some(Err(error))) => {
                tracing::warn!(mailbox_id = %filing.id, error = words(&error), "a sent mail could not be filed");
            }
            Err(_) => tracing::warn!(mailbox_id = %filing.id, "a sent mail could not be filed in time"),
        }
    });
}

async fn file(owned: &Owned, message_id: &str, raw: &[u8]) -> Result<(), Error> {
    let mut session = connect(owned).await?;
    if let Some(folder) = imap::sent_folder(&mut session).await? {
        session.examine(&folder).await?;
        if session.uids_with_message_id(&format!("<{message_id}>")).await?.is_empty() {
            session.append(&folder, &["\\Seen"], raw).await?;
        }
    }
    // Whether the farewell is heard changes nothing.
    let _ = session.logout().await;
    Ok(())
}

/// Whether the Sent folder holds the mail. Where there is no such folder, nothing can be told.
pub(super) async fn holds(owned: &Owned, message_id: &str) -> Result<bool, Error> {
    let _one_at_a_time = owned.second_session.lock().await;
    let looking = timeout(LIMIT, async {
        let mut session = connect(owned).await?;
        let Some(folder) = imap::sent_folder(&mut session).await? else { return Ok(false) };
        session.examine(&folder).await?;
        let found = session.uids_with_message_id(&format!("<{message_id}>")).await?;
        let _ = session.logout().await;
        Ok(!found.is_empty())
    });
    looking.await.unwrap_or(Ok(false))
}

async fn connect(owned: &Owned) -> Result<Session, Error> {
    let server = owned.shared.server(&owned.mailbox().await?, Side::Imap)?;
    Ok(imap::connect(&server, owned.shared.config.reach, imap::impatient()).await?)
}
