//! What identity refuses and what can fail, with the code and the reason that a caller sees.

use std::{collections::HashMap, time::Duration};

use diwan_fault::{Code, Fault};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    domain::{FactorRefusal, MOST_PRINCIPALS, Refusal},
    mail::MailError,
    whatsapp::SendError,
};

/// After so long another service is probably back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When a full line has moved on. Not the same for all: who was refused together would return together.
fn line_moved() -> Duration {
    RETRY_AFTER.mul_f64(rand::random_range(1.0..3.0))
}

/// Nobody is believed who wants to be left alone for longer.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

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
    /// A second factor does not do it.
    #[error("a second factor does not do it: {0:?}")]
    Factor(FactorRefusal),
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
    /// The account is closing, and he is not its owner.
    #[error("the account is being closed")]
    AccountClosing,
    /// Nothing to take back.
    #[error("the account is not being closed")]
    AccountNotClosing,
    /// There is no such export, or no longer.
    #[error("there is no such export")]
    ExportNotFound,
    /// It is still being gathered.
    #[error("the export is not ready")]
    ExportNotReady,
    /// The user has no picture.
    #[error("there is no picture")]
    PictureNotFound,
    /// Too many pictures are waiting to be scaled.
    #[error("too many pictures are waiting")]
    PicturesBusy,
    /// The store of pictures failed.
    #[error("the store of pictures failed")]
    Blob(#[source] diwan_blobs::BlobError),
    /// No such number waits to be confirmed.
    #[error("no such number waits to be confirmed")]
    NumberConfirmationNotFound,
    /// The code of a number is another one, has expired, or was tried too often.
    #[error("the code is refused")]
    NumberCodeRefused,
    /// The user has no number.
    #[error("there is no WhatsApp number")]
    NumberNotFound,
    /// The number is a second factor.
    #[error("the WhatsApp number is a second factor")]
    NumberNeeded,
    /// A message was not sent.
    #[error("a WhatsApp message could not be sent")]
    WhatsApp(#[source] SendError),
    /// There is no such account, or it is not for who asks.
    #[error("there is no such account")]
    AccountNotFound,
    /// There is no such service principal that the caller manages.
    #[error("there is no such service principal")]
    PrincipalNotFound,
    /// The account has as many in use as it can have.
    #[error("the account has too many service principals")]
    TooManyPrincipals,
    /// The principal has no such credential.
    #[error("there is no such credential")]
    CredentialNotFound,
    /// The principal has as many as it can have.
    #[error("the principal has too many credentials")]
    TooManyCredentials,
    /// What was presented proves nobody.
    #[error("the credential is refused")]
    CredentialRefused,
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
    /// A secret could not be encrypted or decrypted.
    #[error("a secret could not be encrypted or decrypted")]
    Vault(#[from] diwan_vault::VaultError),
    /// An authenticator could not be computed.
    #[error("an authenticator could not be computed")]
    Totp(#[source] Cause),
    /// A password could not be hashed or checked.
    #[error("a password could not be processed")]
    Password(#[source] Cause),
    /// An access token could not be signed.
    #[error("an access token could not be made")]
    Sign(#[source] Cause),
    /// A signing key could not be made.
    #[error("a signing key could not be made")]
    NewKey(#[source] Cause),
    /// A stored signing key is of no use here.
    #[error(
        "the signing key {0} cannot be opened; DIWAN_IDENTITY_SECRET_KEYS_FILE has to be the file that it was encrypted with"
    )]
    SigningKey(String, #[source] Cause),
    /// No key is held that may sign now.
    #[error("there is no signing key")]
    NoSigningKey,
    /// There is no such signing key.
    #[error("there is no such signing key")]
    SigningKeyNotFound,
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

impl Error {
    /// For how long whoever failed wants to be left alone.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::WhatsApp(error) => error.retry_after().unwrap_or_default().min(LONGEST_WAIT),
            _ => Duration::ZERO,
        }
    }
}

impl From<FactorRefusal> for Error {
    fn from(refusal: FactorRefusal) -> Self {
        Self::Factor(refusal)
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
            Error::Factor(refusal) => Self::new(code_of(refusal), refusal.reason()),
            Error::SignInRefused => Self::new(Code::Unauthenticated, "SIGN_IN_REFUSED"),
            Error::Busy => Self::new(Code::ResourceExhausted, "SIGN_IN_BUSY").retry_after(line_moved()),
            Error::Throttled(wait) => {
                let seconds = wait.as_secs().max(1);
                let fault = Self::new(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS").retry_after(wait);
                fault.with("seconds", seconds.to_string())
            }
            Error::NeedsReset => Self::new(Code::FailedPrecondition, "PASSWORD_RESET_NEEDED"),
            Error::PasswordWrong => Self::new(Code::PermissionDenied, "PASSWORD_WRONG"),
            Error::ResetNotFound => Self::new(Code::NotFound, "PASSWORD_RESET_NOT_FOUND"),
            Error::SessionNotFound => Self::new(Code::NotFound, "SESSION_NOT_FOUND"),
            Error::AccountClosing => Self::new(Code::FailedPrecondition, "ACCOUNT_CLOSING"),
            Error::AccountNotClosing => Self::new(Code::FailedPrecondition, "ACCOUNT_NOT_CLOSING"),
            Error::ExportNotFound => Self::new(Code::NotFound, "EXPORT_NOT_FOUND"),
            Error::ExportNotReady => Self::new(Code::FailedPrecondition, "EXPORT_NOT_READY"),
            Error::PictureNotFound => Self::new(Code::NotFound, "PICTURE_NOT_FOUND"),
            Error::PicturesBusy => Self::new(Code::ResourceExhausted, "PICTURES_BUSY").retry_after(RETRY_AFTER),
            Error::SigningKeyNotFound => Self::new(Code::NotFound, "SIGNING_KEY_NOT_FOUND"),
            Error::NumberConfirmationNotFound => Self::new(Code::NotFound, "WHATSAPP_CONFIRMATION_NOT_FOUND"),
            Error::NumberCodeRefused => Self::new(Code::PermissionDenied, "CODE_REFUSED"),
            Error::NumberNotFound => Self::new(Code::NotFound, "WHATSAPP_NUMBER_NOT_FOUND"),
            Error::NumberNeeded => Self::new(Code::FailedPrecondition, "WHATSAPP_NUMBER_NEEDED"),
            Error::AccountNotFound => Self::new(Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Error::PrincipalNotFound => Self::new(Code::NotFound, "PRINCIPAL_NOT_FOUND"),
            Error::TooManyPrincipals => {
                Self::new(Code::FailedPrecondition, "TOO_MANY_PRINCIPALS").with("limit", MOST_PRINCIPALS.to_string())
            }
            Error::CredentialNotFound => Self::new(Code::NotFound, "CREDENTIAL_NOT_FOUND"),
            Error::TooManyCredentials => Self::new(Code::FailedPrecondition, "TOO_MANY_CREDENTIALS"),
            Error::CredentialRefused => Self::new(Code::Unauthenticated, "CREDENTIAL_REFUSED"),
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
            Error::Vault(_)
            | Error::Totp(_)
            | Error::Blob(_)
            | Error::Peer { .. }
            | Error::Unreadable(_)
            | Error::Password(_)
            | Error::Sign(_)
            | Error::NewKey(_)
            | Error::SigningKey(..)
            | Error::NoSigningKey
            | Error::Mail(_)
            | Error::WhatsApp(_) => Self::internal(error),
        }
    }
}

fn code_of(refusal: FactorRefusal) -> Code {
    match refusal {
        FactorRefusal::CodeRefused => Code::PermissionDenied,
        FactorRefusal::AnswerRefused | FactorRefusal::ChallengeRefused => Code::Unauthenticated,
        FactorRefusal::EnrolmentNotFound | FactorRefusal::DeviceNotFound | FactorRefusal::RecoveryNotFound => {
            Code::NotFound
        }
        FactorRefusal::NotAvailable
        | FactorRefusal::Demanded
        | FactorRefusal::Missing
        | FactorRefusal::NothingToRecover
        | FactorRefusal::Own
        | FactorRefusal::NumberMissing
        | FactorRefusal::NumberIsAnother => Code::FailedPrecondition,
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
            Error::AccountNotFound,
            Error::PrincipalNotFound,
            Error::TooManyPrincipals,
            Error::CredentialNotFound,
            Error::TooManyCredentials,
            Error::CredentialRefused,
            Error::Busy,
            Error::Throttled(RETRY_AFTER),
            Error::NeedsReset,
            Error::PasswordWrong,
            Error::ResetNotFound,
            Error::SessionNotFound,
            Error::NumberConfirmationNotFound,
            Error::NumberNotFound,
            Error::NumberNeeded,
            Error::SigningKeyNotFound,
            Error::ExportNotFound,
            Error::ExportNotReady,
            Error::PictureNotFound,
            Error::PicturesBusy,
            Error::AccountClosing,
            Error::AccountNotClosing,
        ];
        let factors = FactorRefusal::ALL.map(Error::Factor);
        for error in refusals.into_iter().chain(factors).chain(others) {
            let fault = Fault::from(error);
            assert!(diwan_fault::has_texts(fault.reason()), "{}", fault.reason());
        }
        for unfit in [crate::pictures::Unfit::Unreadable, crate::pictures::Unfit::TooLarge] {
            assert!(diwan_fault::has_texts(unfit.reason()), "{}", unfit.reason());
        }
        assert!(diwan_fault::has_texts("FIELD_KEY_ID") && diwan_fault::has_texts("FIELD_PAST"));
        for reason in crate::api::PRINCIPAL_FIELDS {
            assert!(diwan_fault::has_texts(reason), "{reason}");
        }
        assert!(
            diwan_fault::has_texts(crate::api::TIME_ZONE)
                && diwan_fault::has_texts(crate::api::PHONE_NUMBER)
                && diwan_fault::has_texts("FIELD_VALUE")
        );
    }
}
