//! What can go wrong in the service, and what callers are told of it.

use std::{error::Error as StdError, io, time::Duration};

use diwan_blobs::BlobError;
use diwan_fault::{Code, Fault};
use diwan_vault::VaultError;
use tonic::Status;

use crate::{domain::server::Side, smtp};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error of the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The database failed.
    #[error("the database failed")]
    Store(#[from] diwan_store::Error),
    /// No such mailbox in the account.
    #[error("no such mailbox")]
    MailboxNotFound,
    /// No such active team in the account.
    #[error("no such team")]
    TeamNotFound,
    /// Another mailbox of the account has the address.
    #[error("the address is taken")]
    MailboxTaken,
    /// The settings were tried and do not work.
    #[error("the {} settings do not work: {step}", side.name())]
    Refused {
        side: Side,
        step: &'static str,
        /// For a person.
        words: String,
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Another service cannot be reached or failed.
    #[error("{0} failed")]
    Service(&'static str, #[source] Box<Status>),
    /// A password cannot be encrypted or decrypted.
    #[error("a password cannot be used")]
    Vault(#[from] VaultError),
    /// A blob cannot be stored.
    #[error("a blob cannot be stored")]
    Blobs(#[from] BlobError),
    /// The mail server's IMAP side failed.
    #[error("IMAP failed")]
    Imap(#[from] diwan_imap::Error),
    /// The mail server's SMTP side failed.
    #[error("SMTP failed")]
    Smtp(#[from] smtp::Error),
    /// A mail cannot be written down.
    #[error("a mail cannot be built")]
    Build(#[source] io::Error),
    /// Another replica has moved the mailbox on.
    #[error("another replica works on the mailbox")]
    Overtaken,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::MailboxNotFound => Self::new(Code::NotFound, "MAILBOX_NOT_FOUND"),
            Error::TeamNotFound => Self::new(Code::NotFound, "TEAM_NOT_FOUND"),
            Error::MailboxTaken => Self::new(Code::AlreadyExists, "MAILBOX_TAKEN"),
            Error::Refused { side, step, words, source } => {
                let reason = match side {
                    Side::Imap => "IMAP_REFUSED",
                    Side::Smtp => "SMTP_REFUSED",
                };
                Self::new(Code::FailedPrecondition, reason)
                    .with("side", side.name())
                    .with("step", step)
                    .with("words", words)
                    .because(source)
            }
            Error::Service(_, ref status) if is_passing(status) => Self::unavailable(error, RETRY_AFTER),
            error => Self::internal(error),
        }
    }
}

/// Whether the same call may succeed later.
pub(crate) fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted)
}

/// An error with the causes that a person can do something with.
pub(crate) fn words(error: &(dyn StdError + 'static)) -> String {
    diwan_runtime::worker::chain(error).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use diwan_fault::has_texts;

    #[test]
    fn every_reason_has_its_texts() {
        for reason in [
            "MAILBOX_NOT_FOUND",
            "TEAM_NOT_FOUND",
            "MAILBOX_TAKEN",
            "IMAP_REFUSED",
            "SMTP_REFUSED",
            "PLAIN_NOT_ALLOWED",
        ] {
            assert!(has_texts(reason), "{reason}");
        }
    }
}
