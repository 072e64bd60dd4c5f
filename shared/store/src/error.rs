//! What goes wrong between a service and its database.

use std::{error::Error as StdError, time::Duration};

use diwan_fault::{Code, Fault};

/// `serialization_failure` and `deadlock_detected`: the transaction was innocent and may be run again.
const INNOCENT: [&str; 2] = ["40001", "40P01"];
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error of the store. The cause is in [`StdError::source`] and never in the text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused a statement, or cannot be reached.
    #[error("the database failed a statement")]
    Sqlx(#[from] sqlx::Error),
    /// A migration failed, or the database holds one that differs from ours.
    #[error("the database cannot be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The request id belongs to another request of the same account.
    #[error("the request id was used for a different request")]
    RequestIdReused,
    /// A stored answer, or the payload of an event, is not of the type that it is said to be.
    #[error("a stored message cannot be read")]
    Message(#[from] prost::DecodeError),
}

impl Error {
    /// The unique constraint or index that a statement violated.
    pub fn violated_unique(&self) -> Option<&str> {
        let Self::Sqlx(error) = self else { return None };
        let error = error.as_database_error()?;
        error.is_unique_violation().then(|| error.constraint()).flatten()
    }

    /// Whether a statement violated the unique constraint or index of this name.
    pub fn is_unique_violation(&self, constraint: &str) -> bool {
        self.violated_unique() == Some(constraint)
    }

    /// Whether the same transaction can succeed when it is run again at once: it lost against another one.
    pub fn is_retryable(&self) -> bool {
        lost_a_race(self)
    }

    /// Whether the database is out of reach or overloaded, so that trying again later helps.
    pub fn is_unavailable(&self) -> bool {
        let Self::Sqlx(error) = self else { return false };
        match error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                true
            }
            // Connection exceptions, insufficient resources, operator intervention, lock_not_available.
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "55P03"),
            _ => false,
        }
    }
}

/// Whether this error or one of its causes says that a transaction lost against another one and may be run again.
pub(crate) fn lost_a_race(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<sqlx::Error>())
        .filter_map(|error| error.as_database_error()?.code())
        .any(|code| INNOCENT.contains(&&*code))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match &error {
            Error::RequestIdReused => Self::new(Code::InvalidArgument, "REQUEST_ID_REUSED"),
            _ if error.is_retryable() || error.is_unavailable() => Self::unavailable(error, RETRY_AFTER),
            _ => Self::internal(error),
        }
    }
}
