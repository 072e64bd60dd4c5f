//! Sends what is due, one mail at a time for a mailbox.

use std::{sync::Arc, time::Duration};

use diwan_runtime::clock::between;

use super::{
    owned::{Owned, REST},
    sent_folder,
};
use crate::{
    config::Config,
    domain::{
        outgoing::{Outgoing, next_try},
        server::{Server, Side},
    },
    error::{Error, words},
    smtp,
    store::{
        mailboxes::Mailbox,
        outgoing::{self, Attempt},
    },
};

/// The longest pause between two tries to write down how an attempt ended.
const LONGEST_NOTE: Duration = Duration::from_secs(5);

/// Runs until the mailbox is given back. An attempt is not broken off for that: the process waits for it.
pub(super) async fn run(owned: &Arc<Owned>) {
    owned.rounds("send", &owned.to_send, || Box::pin(round(owned))).await;
}

async fn round(owned: &Arc<Owned>) -> Result<Duration, Error> {
    if owned.is_first_look() {
        // Nobody else works on this mailbox, so whoever began these is gone.
        let lost = outgoing::give_up_lost(&mut *owned.connection().await?, owned.key()).await?;
        owned.has_looked();
        if lost > 0 {
            tracing::warn!(mailbox_id = %owned.id, lost, "mails may have been sent by a process that ended meanwhile");
        }
        owned.to_report.notify_one();
    }
    while !owned.part.has_begun() {
        let now = owned.shared.clock.now();
        let begun = outgoing::begin(&mut *owned.connection().await?, owned.key(), now).await?;
        let Some(attempt) = begun else { break };
        try_once(owned, &attempt).await;
    }
    let due = outgoing::next_due(&mut *owned.connection().await?, owned.key()).await?;
    Ok(due.map_or(REST, |due| between(owned.shared.clock.now(), due)).min(REST))
}

/// How an attempt ended.
enum Outcome {
    Sent(Vec<u8>),
    /// For good.
    Failed(String),
    /// It surely did not leave.
    NotSent(String),
    /// It may have left.
    Unknown(String),
}

async fn try_once(owned: &Arc<Owned>, attempt: &Attempt) {
    let outcome = match deliver(owned, attempt).await {
        Ok(raw) => Outcome::Sent(raw),
        Err(Error::Smtp(error)) if error.may_have_left() => Outcome::Unknown(words(&error)),
        Err(Error::Smtp(error)) if error.is_final() => Outcome::Failed(words(&error)),
        Err(error) => Outcome::NotSent(words(&error)),
    };
    let mut pause = Duration::from_millis(100);
    // Whatever it takes: forgetting that a mail was sent is the one thing that must not happen.
    while let Err(error) = note(owned, attempt, &outcome).await {
        tracing::error!(mailbox_id = %owned.id, message_id = %attempt.message_id, error = words(&error),
            "how sending ended could not be noted");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_NOTE);
    }
    owned.to_report.notify_one();
    if let Outcome::Sent(raw) = outcome {
        sent_folder::file_later(owned, attempt.rfc_message_id.clone(), raw);
    }
}

async fn deliver(owned: &Owned, attempt: &Attempt) -> Result<Vec<u8>, Error> {
    let mailbox = owned.mailbox().await?;
    let server: Server = owned.shared.server(&mailbox, Side::Smtp)?;
    let raw = mail(&mailbox, attempt).to_bytes(owned.shared.clock.now()).map_err(Error::Build)?;
    let mut session = smtp::connect(&server, owned.shared.config.reach).await?;
    session.send(&mailbox.address, &attempt.to_email, &raw, owned.shared.config.send_answer).await?;
    // The answer is there; nobody need wait for the farewell.
    owned.shared.drain.spawn(session.quit());
    Ok(raw)
}

fn mail(mailbox: &Mailbox, attempt: &Attempt) -> Outgoing {
    Outgoing {
        from_email: mailbox.address.clone(),
        from_name: mailbox.display_name.clone(),
        to_email: attempt.to_email.clone(),
        to_name: attempt.to_name.clone(),
        subject: attempt.subject.clone(),
        text: attempt.body.clone(),
        in_reply_to: attempt.in_reply_to.clone(),
        thread: attempt.thread.clone(),
        message_id: attempt.rfc_message_id.clone(),
        automatic: attempt.automatic,
    }
}

async fn note(owned: &Owned, attempt: &Attempt, outcome: &Outcome) -> Result<(), Error> {
    let mut connection = owned.connection().await?;
    let (state, error) = match outcome {
        Outcome::Sent(_) => ("SENT", ""),
        Outcome::Failed(error) => ("FAILED", error.as_str()),
        Outcome::Unknown(error) => ("UNKNOWN", error.as_str()),
        Outcome::NotSent(error) => {
            let config = &owned.shared.config;
            let attempts = u32::try_from(attempt.attempts).unwrap_or(u32::MAX);
            let since = attempt.created_at.to_jiff();
            let pauses = (config.send_retry, Config::SEND_RETRY_LONGEST);
            match next_try(attempts, owned.shared.clock.now(), since, config.send_give_up, pauses) {
                Some(due) => {
                    return Ok(outgoing::put_off(&mut connection, owned.account, attempt, due, error).await?);
                }
                None => ("FAILED", error.as_str()),
            }
        }
    };
    Ok(outgoing::end(&mut connection, owned.account, attempt, state, error).await?)
}
