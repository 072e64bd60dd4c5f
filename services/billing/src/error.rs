//! Why billing refuses.

use diwan_fault::{Code, Fault};
use tonic::Status;

/// An error of the billing service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The account has no subscription.
    #[error("the account has no subscription")]
    SubscriptionNotFound,
    /// Every seat is held.
    #[error("all {seats} seats are held")]
    NoSeatLeft {
        /// How many the subscription has.
        seats: i32,
    },
    /// More seats are held than the subscription is to have.
    #[error("{held} seats are held")]
    SeatsInUse {
        /// How many are held.
        held: i32,
    },
    /// The database failed.
    #[error("the database failed")]
    Store(#[from] diwan_store::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::SubscriptionNotFound => Self::new(Code::NotFound, "SUBSCRIPTION_NOT_FOUND"),
            Error::NoSeatLeft { seats } => {
                Self::new(Code::ResourceExhausted, "NO_SEAT_LEFT").with("seats", seats.to_string())
            }
            Error::SeatsInUse { held } => {
                Self::new(Code::FailedPrecondition, "SEATS_IN_USE").with("held", held.to_string())
            }
            Error::Store(error) => error.into(),
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
    fn every_reason_has_its_texts() {
        let errors = [Error::SubscriptionNotFound, Error::NoSeatLeft { seats: 5 }, Error::SeatsInUse { held: 6 }];
        for error in errors {
            let fault = Fault::from(error);
            assert!(diwan_fault::has_texts(fault.reason()), "{}", fault.reason());
            assert!(!fault.to_string().contains('{'), "{fault}");
        }
        assert!(diwan_fault::has_texts("FIELD_FUTURE"));
    }
}
