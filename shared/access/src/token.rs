//! The claims of the three kinds of tokens. All are JWTs signed with EdDSA (RFC 7519, RFC 8037); times are seconds since 1970.

use diwan_proto::access::v1::{Grant, Role};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The audience of access tokens and operators' tokens: any service of the installation. A service token names one service.
pub const AUDIENCE: &str = "diwan";
/// Longer tokens are refused unread.
pub const LONGEST: usize = 4096;
/// How far the clocks of two machines may be apart, in seconds.
pub const LEEWAY: i64 = 5;

/// What every token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Issued at.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Expires at.
    pub exp: i64,
}

/// A user's access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    /// What every token says.
    #[serde(flatten)]
    pub registered: Registered,
    /// The user.
    pub sub: Uuid,
    /// The account.
    pub acc: Uuid,
    /// The session.
    pub sid: Uuid,
    /// The role, a number of [`Role`].
    pub role: i32,
    /// The grants, numbers of [`Grant`].
    pub grants: Vec<i32>,
    /// The epochs of account, user and session when it was issued; a revocation raises them.
    pub epochs: Epochs,
}

impl AccessClaims {
    /// The role, or the least one for a number from a newer version.
    pub fn role(&self) -> Role {
        Role::try_from(self.role).ok().filter(|role| *role != Role::Unspecified).unwrap_or(Role::User)
    }

    /// The grants that this version knows.
    pub fn grants(&self) -> Vec<Grant> {
        self.grants.iter().filter_map(|grant| Grant::try_from(*grant).ok()).collect()
    }
}

/// The epochs that a token was issued in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    /// Of the account.
    pub account: i64,
    /// Of the user.
    pub user: i64,
    /// Of the session.
    pub session: i64,
}

/// A service's own token. The issuer is the service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceClaims {
    /// What every token says. The audience is the service that it is for.
    #[serde(flatten)]
    pub registered: Registered,
}

/// An operator's token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorClaims {
    /// What every token says.
    #[serde(flatten)]
    pub registered: Registered,
    /// Who it was made for.
    pub sub: String,
    /// What he may do.
    pub scopes: Vec<String>,
}
