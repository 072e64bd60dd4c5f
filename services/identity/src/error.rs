//! What identity refuses and what can fail, with the code and the reason that a caller sees.

use std::{collections::HashMap, time::Duration};

use diwan_fault::{Code, Fault};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{domain::Refusal, mail::MailError};

/// After so long another service is probably back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Any error that only the log needs to know.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Every error of identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Store(#[source] diwan_store::Error),
    /// A rule of the domain forbids it.
    #[error("a rule forbids it: {0:?}")]
    Refused(Refusal),
    /// The address is a user's already, here or in another account.
    #[error("the address belongs to an account already")]
    EmailTaken,
    /// No such user in the account.
    #[error("there is no such user")]
    UserNotFound,
    /// Teams that do not exist or are not active.
    #[error("there are no such teams")]
    TeamsNotFound(Vec<Uuid>),
    /// Every seat of the subscription is held; how many there are, as billing says.
    #[error("no seat is left")]
    NoSeatLeft {
        /// The seats of the subscription.
        seats: String,
    },
    /// The token is no open invitation's.
    #[error("there is no such invitation")]
    InvitationNotFound,
    /// The token confirms no address.
    #[error("there is no such confirmation")]
    ConfirmationNotFound,
    /// No offer of the ownership is open that is the caller's.
    #[error("there is no such offer of the ownership")]
    OwnershipOfferNotFound,
    /// Address and password do not let anybody in.
    #[error("the sign-in is refused")]
    SignInRefused,
    /// Too many passwords are waiting to be checked.
    #[error("too many passwords are waiting")]
    Busy,
    /// Too many tries failed; for how long the next one is refused.
    #[error("too many tries failed")]
    Throttled(Duration),
    /// So many tries failed that only a password reset helps.
    #[error("a password reset is needed")]
    NeedsReset,
    /// The current password is another one.
    #[error("the current password is wrong")]
    PasswordWrong,
    /// The token is no open password reset's.
    #[error("there is no such password reset")]
    ResetNotFound,
    /// The caller has no such session.
    #[error("there is no such session")]
    SessionNotFound,
    /// The refresh token is not good.
    #[error("the refresh is refused")]
    RefreshRefused,
    /// Another service did not answer as it should.
    #[error("{service} failed a call")]
    Peer {
        /// Which one.
        service: &'static str,
        /// What it said.
        #[source]
        status: Status,
    },
    /// A user's state changed as fast as his seat was adjusted to it.
    #[error("the state of a seat's holder keeps changing")]
    Unsettled,
    /// A column holds what this version does not know.
    #[error("the column {0} cannot be read")]
    Unreadable(&'static str),
    /// A password could not be hashed or checked.
    #[error("a password could not be processed")]
    Password(#[source] Cause),
    /// An access token could not be signed.
    #[error("an access token could not be made")]
    Sign(#[source] Cause),
    /// An e-mail could not be made or sent.
    #[error("an e-mail could not be sent")]
    Mail(#[source] MailError),
}

impl Error {
    /// What a failed call to another service means here.
    pub fn of_peer(service: &'static str, status: Status) -> Self {
        if diwan_fault::reason_of(&status).as_deref() == Some("NO_SEAT_LEFT") {
            let metadata = status.get_details_error_info().map_or_else(HashMap::new, |info| info.metadata);
            return Self::NoSeatLeft { seats: metadata.get("seats").cloned().unwrap_or_default() };
        }
        Self::Peer { service, status }
    }
}

impl From<diwan_store::Error> for Error {
    fn from(error: diwan_store::Error) -> Self {
        Self::Store(error)
    }
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
            Error::Refused(refusal) => Self::new(Code::FailedPrecondition, refusal.reason()),
            Error::EmailTaken => Self::new(Code::AlreadyExists, "EMAIL_TAKEN"),
            Error::UserNotFound => Self::new(Code::NotFound, "USER_NOT_FOUND"),
            Error::TeamsNotFound(teams) => {
                let ids: Vec<String> = teams.iter().map(Uuid::to_string).collect();
                Self::new(Code::NotFound, "TEAM_NOT_FOUND").with("team_ids", ids.join(","))
            }
            Error::NoSeatLeft { seats } => Self::new(Code::ResourceExhausted, "NO_SEAT_LEFT").with("seats", seats),
            Error::InvitationNotFound => Self::new(Code::NotFound, "INVITATION_NOT_FOUND"),
            Error::ConfirmationNotFound => Self::new(Code::NotFound, "CONFIRMATION_NOT_FOUND"),
            Error::OwnershipOfferNotFound => Self::new(Code::NotFound, "OWNERSHIP_OFFER_NOT_FOUND"),
            Error::SignInRefused => Self::new(Code::Unauthenticated, "SIGN_IN_REFUSED"),
            Error::Busy => Self::new(Code::ResourceExhausted, "SIGN_IN_BUSY").retry_after(RETRY_AFTER),
            Error::Throttled(wait) => {
                let seconds = wait.as_secs().max(1);
                let fault = Self::new(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS").retry_after(wait);
                fault.with("seconds", seconds.to_string())
            }
            Error::NeedsReset => Self::new(Code::FailedPrecondition, "PASSWORD_RESET_NEEDED"),
            Error::PasswordWrong => Self::new(Code::PermissionDenied, "PASSWORD_WRONG"),
            Error::ResetNotFound => Self::new(Code::NotFound, "PASSWORD_RESET_NOT_FOUND"),
            Error::SessionNotFound => Self::new(Code::NotFound, "SESSION_NOT_FOUND"),
            Error::RefreshRefused => Self::new(Code::Unauthenticated, "REFRESH_REFUSED"),
            // NOT_FOUND too: an account that exists here and not there is one whose provisioning is still under way.
            Error::Peer { ref status, .. }
                if matches!(
                    status.code(),
                    Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::NotFound
                ) =>
            {
                Self::unavailable(error, RETRY_AFTER)
            }
            Error::Unsettled => Self::unavailable(error, RETRY_AFTER),
            Error::Peer { .. } | Error::Unreadable(_) | Error::Password(_) | Error::Sign(_) | Error::Mail(_) => {
                Self::internal(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_text_in_every_language() {
        let refusals = Refusal::ALL.map(Error::Refused);
        let others = [
            Error::EmailTaken,
            Error::UserNotFound,
            Error::TeamsNotFound(vec![]),
            Error::NoSeatLeft { seats: "5".to_owned() },
            Error::InvitationNotFound,
            Error::ConfirmationNotFound,
            Error::OwnershipOfferNotFound,
            Error::SignInRefused,
            Error::RefreshRefused,
            Error::Busy,
            Error::Throttled(RETRY_AFTER),
            Error::NeedsReset,
            Error::PasswordWrong,
            Error::ResetNotFound,
            Error::SessionNotFound,
        ];
        for error in refusals.into_iter().chain(others) {
            let fault = Fault::from(error);
            assert!(diwan_fault::has_texts(fault.reason()), "{}", fault.reason());
        }
        assert!(diwan_fault::has_texts(crate::api::TIME_ZONE) && diwan_fault::has_texts("FIELD_VALUE"));
    }
}
