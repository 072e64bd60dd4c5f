//! Who is calling, once it has been proved.

use diwan_fault::{Code, Fault};
use diwan_proto::access::v1::{Grant, Role};
use uuid::Uuid;

use crate::{Principal, token::Mandate};

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a token.
    Nobody,
    /// A member of an account.
    User(User),
    /// A service principal that acts as itself. One that acts for a user is that user, see [`User::actor`].
    Principal(Principal),
    /// A service of this installation.
    Service(String),
    /// An operator of this installation.
    Operator(Operator),
}

/// A member of an account, by his access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The account.
    pub account_id: Uuid,
    /// The user.
    pub user_id: Uuid,
    /// The session that the token belongs to.
    pub session_id: Uuid,
    /// His role.
    pub role: Role,
    /// His grants.
    pub grants: Vec<Grant>,
    /// The service principal that acts for him; `None`: he himself.
    pub actor: Option<Mandate>,
}

impl User {
    /// Whether he is the owner or an admin.
    pub fn is_administrator(&self) -> bool {
        matches!(self.role, Role::Owner | Role::Admin)
    }
}

/// An operator of this installation, by his token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who it was made for, as the audit log shows him.
    pub name: String,
    /// The id of his token, by which it can be revoked.
    pub token_id: Uuid,
    /// What he may do, e.g. "billing.write".
    pub scopes: Vec<String>,
}

/// The caller that admission proved for this request.
pub fn caller<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Nobody)
}

/// The user who calls.
///
/// # Errors
/// UNAUTHENTICATED where it is not a user: a method that admits others too has to ask [`caller`].
pub fn user<T>(request: &tonic::Request<T>) -> Result<User, Fault> {
    match caller(request) {
        Caller::User(user) => Ok(user),
        _ => Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")),
    }
}

/// The operator who calls.
///
/// # Errors
/// UNAUTHENTICATED where it is none: a method that admits others too has to ask [`caller`].
pub fn operator<T>(request: &tonic::Request<T>) -> Result<Operator, Fault> {
    match caller(request) {
        Caller::Operator(operator) => Ok(operator),
        _ => Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")),
    }
}
