//! Service principals: who they are, and what they may call.

use diwan_fault::{Code, Fault};
use diwan_proto::access::v1 as proto;
use uuid::Uuid;

use crate::{
    Caller, Rule, Rules, User, caller,
    token::{Mandate, PrincipalClaims},
    user,
};

/// A service principal that acts as itself in one account, by its access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub account_id: Uuid,
    /// What it was let in with.
    pub mandate: Mandate,
    /// The account's epoch when its token was issued.
    account_epoch: i64,
}

impl From<PrincipalClaims> for Principal {
    fn from(claims: PrincipalClaims) -> Self {
        Self { account_id: claims.acc, mandate: claims.act, account_epoch: claims.epoch }
    }
}

impl Principal {
    /// Whatever may cut its access, with the epochs of its token.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = (Uuid, i64)> {
        self.mandate.subjects().into_iter().chain([(self.account_id, self.account_epoch)])
    }
}

impl Mandate {
    /// Whether the scopes cover the method at `path` (`/package.Service/Method`): by its own name, or by its gRPC service's.
    pub fn covers(&self, path: &str) -> bool {
        let method = path.trim_start_matches('/');
        let service = method.split_once('/').map_or(method, |(service, _)| service);
        self.scopes.iter().any(|scope| scope == method || scope == service)
    }

    pub(crate) fn subjects(&self) -> [(Uuid, i64); 2] {
        [(self.sub, self.epochs.principal), (self.cred, self.epochs.credential)]
    }
}

impl Caller {
    /// What a service principal behind the call was let in with, be it there as itself or for a user.
    pub fn mandate(&self) -> Option<&Mandate> {
        match self {
            Self::Principal(principal) => Some(&principal.mandate),
            Self::User(user) => user.actor.as_ref(),
            Self::Nobody | Self::Service(_) | Self::Operator(_) => None,
        }
    }
}

/// The account of the user or service principal who calls: for methods that treat both alike.
///
/// # Errors
/// UNAUTHENTICATED where it is neither: a method that admits others too has to ask [`caller`].
pub fn account<T>(request: &tonic::Request<T>) -> Result<Uuid, Fault> {
    match caller(request) {
        Caller::User(user) => Ok(user.account_id),
        Caller::Principal(principal) => Ok(principal.account_id),
        _ => Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")),
    }
}

/// The user who looks at something. A service principal looks as an admin of the account, under its own id: for methods that
/// change nothing and declare that they admit it.
///
/// # Errors
/// UNAUTHENTICATED where it is neither.
pub fn viewer<T>(request: &tonic::Request<T>) -> Result<User, Fault> {
    let Caller::Principal(principal) = caller(request) else { return user(request) };
    let id = principal.mandate.sub;
    Ok(User {
        account_id: principal.account_id,
        user_id: id,
        session_id: id,
        role: proto::Role::Admin,
        grants: Vec::new(),
        actor: Some(principal.mandate),
    })
}

/// The service principal who calls as itself.
///
/// # Errors
/// UNAUTHENTICATED where it is none: a method that admits others too has to ask [`caller`].
pub fn principal<T>(request: &tonic::Request<T>) -> Result<Principal, Fault> {
    match caller(request) {
        Caller::Principal(principal) => Ok(principal),
        _ => Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")),
    }
}

impl Rules {
    /// Whether a service principal can be given `scope`: a method, or a gRPC service with one, that it may call as itself or
    /// for a user.
    pub fn can_grant(&self, scope: &str) -> bool {
        self.all().filter(|(_, rule)| grantable(rule)).any(|(path, _)| {
            let method = path.trim_start_matches('/');
            scope == method || method.split_once('/').is_some_and(|(service, _)| scope == service)
        })
    }
}

fn grantable(rule: &Rule) -> bool {
    rule.callers().any(|caller| match caller {
        proto::Caller::Principal => true,
        proto::Caller::User => !rule.in_person,
        _ => false,
    })
}
