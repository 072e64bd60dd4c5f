//! Tries out the settings of a mailbox before they are stored.

use diwan_imap::Step;

use crate::{
    domain::server::{Server, Side},
    error::{Error, words},
    imap,
    reach::Reach,
    smtp,
};

/// Where syncing begins: only mail that arrives after the mailbox was connected becomes conversations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Of INBOX.
    pub(crate) uid_validity: u32,
    /// The highest UID that was there already.
    pub(crate) last_uid: u32,
}

/// Signs in on both sides, at the same time.
///
/// # Errors
/// [`Error::Refused`] with the side and the step; where both fail, that of IMAP.
pub(crate) async fn probe(imap: &Server, smtp: &Server, reach: Reach) -> Result<Start, Error> {
    let (start, sent) = tokio::join!(probe_imap(imap, reach), probe_smtp(smtp, reach));
    let start = start.map_err(|error| {
        let step = imap_step(error.step);
        Error::Refused { side: Side::Imap, step, words: words(&error), source: error.into() }
    })?;
    sent.map_err(|error| {
        let step = error.step.name();
        Error::Refused { side: Side::Smtp, step, words: words(&error), source: error.into() }
    })?;
    Ok(start)
}

async fn probe_imap(server: &Server, reach: Reach) -> Result<Start, diwan_imap::Error> {
    let mut session = imap::connect(server, reach, imap::impatient()).await?;
    let inbox = session.select(&imap::inbox()).await?;
    let last_uid = match inbox.uid_next {
        Some(next) => next.saturating_sub(1),
        None => session.uids_from(1).await?.last().copied().unwrap_or(0),
    };
    // Whether the farewell is heard changes nothing.
    let _ = session.logout().await;
    Ok(Start { uid_validity: inbox.uid_validity, last_uid })
}

async fn probe_smtp(server: &Server, reach: Reach) -> Result<(), smtp::Error> {
    let mut session = smtp::connect(server, reach).await?;
    session.noop().await?;
    session.quit().await;
    Ok(())
}

fn imap_step(step: Step) -> &'static str {
    match step {
        Step::Connect => "connect",
        Step::Tls => "tls",
        Step::Greeting => "greeting",
        Step::Login => "login",
        Step::Command(_) => "select",
    }
}
