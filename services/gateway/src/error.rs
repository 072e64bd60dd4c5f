//! What the gateway itself refuses, and why.

use std::time::Duration;

use diwan_fault::{Code, Fault};
use tonic::Status;

/// A call that the gateway does not pass on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// More calls than one address, user or account gets.
    #[error("too many calls from one {scope}")]
    RateLimited {
        /// Whose limit it is: address, user or account.
        scope: &'static str,
        /// When the next call fits.
        retry_after: Duration,
    },
    /// More open streams than one user gets.
    #[error("a user has {0} streams open")]
    TooManyStreams(usize),
    /// More open streams than one account gets.
    #[error("an account has {0} streams open")]
    TooManyStreamsOfAccount(usize),
    /// More open streams than the gateway carries.
    #[error("{0} streams are open")]
    TooManyStreamsInAll(usize),
    /// The rest of a request did not come in time.
    #[error("the rest of a request did not come within {0:?}")]
    RequestUnfinished(Duration),
    /// Others have begun requests and not ended them, too many for another one.
    #[error("too many requests are unfinished")]
    TooManyUnfinished,
    /// The service has more work than it can do, and this is not the most important of it.
    #[error("{0} has more work than it can do")]
    Overloaded(&'static str),
    /// So many already wait to get in; when there will be room for this one.
    #[error("too many wait to get in")]
    SignInBusy(Duration),
    /// The service did not answer lately.
    #[error("{service} is down")]
    Down {
        /// Which one.
        service: &'static str,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// A message is longer than the limit, in bytes.
    #[error("a message is longer than {0} bytes")]
    MessageTooLarge(usize),
    /// The headers of a request are more than the limit, in bytes.
    #[error("the headers of a request are more than {0} bytes")]
    HeadersTooLarge(usize),
}

/// A service that sheds load has worked off what it holds within about that.
const OVERLOAD_PAUSE: Duration = Duration::from_secs(1);
/// A stream has to be closed before another fits; nobody knows when.
const STREAM_PAUSE: Duration = Duration::from_secs(5);

/// Not the same for all: who was refused together would return together.
pub(crate) fn soon() -> Duration {
    OVERLOAD_PAUSE.mul_f64(rand::random_range(0.5..1.5))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::RateLimited { scope, retry_after } => {
                Self::new(Code::ResourceExhausted, "RATE_LIMITED").with("scope", scope).retry_after(retry_after)
            }
            Error::TooManyStreams(limit) => Self::new(Code::ResourceExhausted, "TOO_MANY_STREAMS")
                .with("limit", limit.to_string())
                .retry_after(STREAM_PAUSE),
            Error::TooManyStreamsOfAccount(limit) => Self::new(Code::ResourceExhausted, "TOO_MANY_STREAMS_OF_ACCOUNT")
                .with("limit", limit.to_string())
                .retry_after(STREAM_PAUSE),
            Error::TooManyStreamsInAll(_) => {
                Self::new(Code::ResourceExhausted, "GATEWAY_FULL").retry_after(STREAM_PAUSE)
            }
            Error::RequestUnfinished(limit) => {
                Self::new(Code::DeadlineExceeded, "REQUEST_UNFINISHED").with("seconds", limit.as_secs().to_string())
            }
            Error::TooManyUnfinished => Self::new(Code::ResourceExhausted, "GATEWAY_FULL").retry_after(OVERLOAD_PAUSE),
            Error::Overloaded(service) => {
                Self::new(Code::ResourceExhausted, "OVERLOADED").with("service", service).retry_after(soon())
            }
            // As identity refuses when its own line is full.
            Error::SignInBusy(wait) => Self::new(Code::ResourceExhausted, "SIGN_IN_BUSY").retry_after(wait),
            Error::Down { service, retry_after } => {
                Self::new(Code::Unavailable, "SERVICE_DOWN").with("service", service).retry_after(retry_after)
            }
            Error::MessageTooLarge(limit) => {
                Self::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE").with("limit", limit.to_string())
            }
            Error::HeadersTooLarge(limit) => {
                Self::new(Code::ResourceExhausted, "HEADERS_TOO_LARGE").with("limit", limit.to_string())
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Fault::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_texts() {
        let retry_after = Duration::from_secs(1);
        for error in [
            Error::RateLimited { scope: "user", retry_after },
            Error::TooManyStreams(1),
            Error::TooManyStreamsOfAccount(1),
            Error::TooManyStreamsInAll(1),
            Error::RequestUnfinished(Duration::from_secs(1)),
            Error::TooManyUnfinished,
            Error::Overloaded("team"),
            Error::SignInBusy(retry_after),
            Error::Down { service: "team", retry_after },
            Error::MessageTooLarge(1),
            Error::HeadersTooLarge(1),
        ] {
            let fault = Fault::from(error);
            assert!(diwan_fault::has_texts(fault.reason()), "{}", fault.reason());
        }
    }
}
