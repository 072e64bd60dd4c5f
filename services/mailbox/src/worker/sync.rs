//! Keeps a mailbox in sync: brings in what is new, waits for more, and comes back after errors.

use std::{convert::Infallible, time::Duration};

use diwan_imap::{Fetched, Kind, Limits, Retry, Session, Step};
use diwan_runtime::{backoff::Backoff, ids};

use super::{
    owned::{Owned, unpanicked},
    store_batch::Cursor,
};
use crate::{
    config::Config,
    domain::server::Side,
    error::{Error, words},
    imap,
    store::{alerts, mailboxes},
};

/// A single mail that the server refuses so often, over more than an hour, is given up and shown as such. Where it hands
/// out others meanwhile, that is known at once.
const REFUSALS: u32 = 20;

/// Runs until the mailbox is given back.
pub(super) async fn run(owned: &Owned) {
    let mut backoff = Backoff::new(owned.shared.config.retry, Config::RETRY_LONGEST);
    let mut refusals = Refusals::default();
    while !owned.part.has_begun() {
        let work = Box::pin(session(owned, &mut backoff, &mut refusals));
        let ended = owned.part.unless_begun(unpanicked(work)).await;
        let pause = match ended {
            None => return,
            Some(Some(Err(error))) => note(owned, &error, &mut backoff).await,
            Some(None) => {
                tracing::error!(mailbox_id = %owned.id, "syncing panicked, tried again later");
                backoff.next_delay()
            }
            Some(Some(Ok(never))) => match never {},
        };
        owned.part.unless_begun(tokio::time::sleep(pause)).await;
    }
}

/// One connection, from beginning to end.
async fn session(owned: &Owned, backoff: &mut Backoff, refusals: &mut Refusals) -> Result<Infallible, Error> {
    let server = owned.shared.server(&owned.mailbox().await?, Side::Imap)?;
    let mut session = imap::connect(&server, owned.shared.config.reach, Limits::default()).await?;
    let inbox = session.select(&imap::inbox()).await?;
    let mut cursor = Cursor::open(owned, inbox).await?;
    loop {
        catch_up(owned, &mut session, &mut cursor, refusals).await?;
        mailboxes::synced(&mut *owned.connection().await?, owned.key(), owned.shared.clock.now()).await?;
        backoff.reset();
        wait(owned, &mut session).await?;
    }
}

/// Brings in everything after the cursor.
async fn catch_up(
    owned: &Owned,
    session: &mut Session,
    cursor: &mut Cursor,
    refusals: &mut Refusals,
) -> Result<(), Error> {
    let mut pending = session.uids_from(cursor.next_uid()).await?;
    while !pending.is_empty() {
        let fetched = fetch(session, &mut pending, refusals).await?;
        cursor.store(owned, fetched).await?;
        owned.to_ingest.notify_one();
    }
    Ok(())
}

/// The UID that the server refused last, and how often.
#[derive(Default)]
struct Refusals {
    uid: u32,
    count: u32,
}

impl Refusals {
    /// Counts one more.
    fn again(&mut self, uid: u32) -> u32 {
        if self.uid != uid {
            *self = Self { uid, count: 0 };
        }
        self.count += 1;
        self.count
    }
}

/// One batch. A refusal of everything asked for is the server's trouble, unless it is always about the same single mail.
async fn fetch(session: &mut Session, pending: &mut Vec<u32>, refusals: &mut Refusals) -> Result<Vec<Fetched>, Error> {
    let only = (pending.len() == 1).then(|| pending[0]);
    let error = match session.fetch(pending).await {
        Ok(fetched) => return Ok(fetched),
        Err(error) => error,
    };
    let (Some(uid), Kind::No(answer) | Kind::Bad(answer)) = (only, &error.kind) else { return Err(error.into()) };
    if refusals.again(uid) < REFUSALS {
        return Err(error.into());
    }
    pending.clear();
    Ok(vec![Fetched::Refused { uid, answer: answer.clone() }])
}

/// Until the server has news, or it is time to look.
async fn wait(owned: &Owned, session: &mut Session) -> Result<(), Error> {
    if session.offers("IDLE") {
        session.idle(owned.shared.config.idle, std::future::pending()).await?;
    } else {
        tokio::time::sleep(owned.shared.config.poll).await;
        session.noop().await?;
        session.take_unsolicited();
    }
    Ok(())
}

/// Shows the error in the mailbox's state, and says how long to wait.
async fn note(owned: &Owned, error: &Error, backoff: &mut Backoff) -> Duration {
    let (state, pause) = match error {
        Error::Imap(error) if error.step == Step::Login && error.retry() == Retry::AfterChange => {
            // Servers lock out who keeps trying with a wrong password.
            ("CREDENTIALS_REFUSED", backoff.next_delay().max(Config::RETRY_LONGEST / 2))
        }
        Error::Imap(error) => ("RETRYING", backoff.next_delay().max(error.pause().unwrap_or_default())),
        // Nothing is wrong with the mailbox.
        Error::Overtaken | Error::Store(_) => {
            tracing::info!(mailbox_id = %owned.id, error = words(error), "syncing starts over");
            return backoff.next_delay();
        }
        _ => ("RETRYING", backoff.next_delay()),
    };
    tracing::warn!(mailbox_id = %owned.id, state, error = words(error), pause_ms = pause.as_millis(), "not in sync");
    let noted = async {
        let mut connection = owned.connection().await?;
        mailboxes::failing(&mut connection, owned.key(), state, &words(error)).await?;
        if state == "CREDENTIALS_REFUSED" {
            alerts::raise(&mut connection, owned.key(), ids::new_id()).await?;
            owned.to_report.notify_one();
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = noted.await {
        tracing::warn!(mailbox_id = %owned.id, error = words(&error), "the state of a mailbox could not be noted");
    }
    pause
}
