//! Why team refuses.

use diwan_fault::{Code, Fault};
use tonic::Status;
use uuid::Uuid;

use crate::domain::DEEPEST;

/// An error of the team service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The account has no such active team.
    #[error("there is no such active team")]
    TeamNotFound(Uuid),
    /// The account has no fallback team, so it was never set up.
    #[error("the account has no fallback team")]
    FallbackNotFound,
    /// Nobody with this id ever became active in the account.
    #[error("there is no such user")]
    UserNotFound(Uuid),
    /// It is the account's last active team.
    #[error("it is the last active team")]
    LastTeam,
    /// Another active team has the name.
    #[error("the name is taken")]
    TeamNameTaken(String),
    /// It would leave the user without a team.
    #[error("it is the user's last membership")]
    LastMembership,
    /// Who is deactivated joins no team.
    #[error("the user is deactivated")]
    UserDeactivated,
    /// The account has no such department.
    #[error("there is no such department")]
    DepartmentNotFound(Uuid),
    /// Another department right below the same one has the name.
    #[error("the name of the department is taken")]
    DepartmentNameTaken(String),
    /// The new place of the department is below itself.
    #[error("the department would lie below itself")]
    DepartmentCycle,
    /// Too many departments lie on the way from the top.
    #[error("the department would lie too deep")]
    DepartmentTooDeep,
    /// Somebody belongs to the department, or another is below it.
    #[error("the department is not empty")]
    DepartmentNotEmpty,
    /// An event of another service cannot be read.
    #[error("an event cannot be read")]
    Event(#[from] prost::DecodeError),
    /// The database failed.
    #[error("the database failed")]
    Store(#[from] diwan_store::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::TeamNotFound(id) => Self::new(Code::NotFound, "TEAM_NOT_FOUND").with("team_id", id.to_string()),
            Error::FallbackNotFound => Self::new(Code::NotFound, "TEAM_NOT_FOUND"),
            Error::UserNotFound(id) => Self::new(Code::NotFound, "USER_NOT_FOUND").with("user_id", id.to_string()),
            Error::TeamNameTaken(name) => Self::new(Code::AlreadyExists, "TEAM_NAME_TAKEN").with("name", name),
            Error::LastTeam => Self::new(Code::FailedPrecondition, "LAST_TEAM"),
            Error::LastMembership => Self::new(Code::FailedPrecondition, "LAST_MEMBERSHIP"),
            Error::UserDeactivated => Self::new(Code::FailedPrecondition, "USER_DEACTIVATED"),
            Error::DepartmentNotFound(id) => {
                Self::new(Code::NotFound, "DEPARTMENT_NOT_FOUND").with("department_id", id.to_string())
            }
            Error::DepartmentNameTaken(name) => {
                Self::new(Code::AlreadyExists, "DEPARTMENT_NAME_TAKEN").with("name", name)
            }
            Error::DepartmentCycle => Self::new(Code::FailedPrecondition, "DEPARTMENT_CYCLE"),
            Error::DepartmentTooDeep => {
                Self::new(Code::FailedPrecondition, "DEPARTMENT_TOO_DEEP").with("most", DEEPEST.to_string())
            }
            Error::DepartmentNotEmpty => Self::new(Code::FailedPrecondition, "DEPARTMENT_NOT_EMPTY"),
            Error::Event(error) => Self::internal(error),
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
        let errors = [
            Error::TeamNotFound(Uuid::nil()),
            Error::FallbackNotFound,
            Error::UserNotFound(Uuid::nil()),
            Error::TeamNameTaken("Sales".into()),
            Error::LastMembership,
            Error::LastTeam,
            Error::UserDeactivated,
            Error::DepartmentNotFound(Uuid::nil()),
            Error::DepartmentNameTaken("Finance".into()),
            Error::DepartmentCycle,
            Error::DepartmentTooDeep,
            Error::DepartmentNotEmpty,
        ];
        for error in errors {
            let fault = Fault::from(error);
            assert!(diwan_fault::has_texts(fault.reason()), "{}", fault.reason());
            assert!(!fault.to_string().contains('{'), "{fault}");
        }
        assert!(diwan_fault::has_texts("FIELD_ENTRIES"));
    }
}
