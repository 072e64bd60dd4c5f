//! The claims of the kinds of tokens. All are JWTs signed with EdDSA (RFC 7519, RFC 8037); times are seconds since 1970.

use std::time::Duration;

use diwan_proto::access::v1::{Grant, Role};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The audience of access tokens and operators' tokens: any service of the installation. A service token names one service.
pub const AUDIENCE: &str = "diwan";
/// The life of a user's access token.
pub const ACCESS_LIFE: Duration = Duration::from_mins(5);
/// Longer tokens are refused unread.
pub const LONGEST: usize = 4096;
/// How far the clocks of two machines may be apart, in seconds.
pub const LEEWAY: i64 = 5;
/// The longest life of an operator's token. A longer one is refused: what was revoked is remembered for no longer.
pub const OPERATOR_LIFE: Duration = Duration::from_hours(24);

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

impl Registered {
    /// Good from `now` for `life`.
    pub fn new(issuer: &str, audience: &str, now: Timestamp, life: Duration) -> Self {
        let now = now.as_second();
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        Self { iss: issuer.to_owned(), aud: audience.to_owned(), iat: now, nbf: now, exp: now.saturating_add(life) }
    }
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
    /// Whatever may cut its access, with the epochs of the token.
    pub(crate) fn subjects(&self) -> [(Uuid, i64); 3] {
        [(self.acc, self.epochs.account), (self.sub, self.epochs.user), (self.sid, self.epochs.session)]
    }

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

/// What a service principal was let in with, in each of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mandate {
    /// The principal.
    pub sub: Uuid,
    /// The credential that it exchanged.
    pub cred: Uuid,
    /// What it may call: names of gRPC services and methods.
    pub scopes: Vec<String>,
    /// The epochs of both when the token was issued.
    pub epochs: MandateEpochs,
}

/// The epochs that a principal's token was issued in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MandateEpochs {
    /// Of the principal.
    pub principal: i64,
    /// Of the credential.
    pub credential: i64,
}

/// The access token of a service principal that acts as itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PrincipalClaims {
    /// What every token says.
    #[serde(flatten)]
    pub registered: Registered,
    /// Tells it from a user's.
    pub kind: Kind,
    /// The account.
    pub acc: Uuid,
    /// The account's epoch.
    pub epoch: i64,
    /// The principal.
    pub act: Mandate,
}

/// What a token without a role is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A service principal's.
    Principal,
}

/// A user's access token, in his own hands or in those of a service principal that acts for him (RFC 8693 section 4.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserClaims {
    /// What the user's own token would say. The session of a principal is the principal.
    #[serde(flatten)]
    pub user: AccessClaims,
    /// Who acts for him.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Mandate>,
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
    /// Its id, by which it can be revoked.
    pub jti: Uuid,
    /// Who it was made for.
    pub sub: String,
    /// What he may do.
    pub scopes: Vec<String>,
}
