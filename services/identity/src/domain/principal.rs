//! Service principals: other systems that use Diwan, and how they prove who they are.

use std::time::Duration;

use diwan_access::token::{ACCESS_LIFE, AUDIENCE, LEEWAY};
use diwan_runtime::clock::after;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Secret, token::same};

/// The account of what belongs to the installation.
pub const INSTALLATION: Uuid = Uuid::nil();
/// Old ones have to be removed before there are more.
pub const MOST_CREDENTIALS: usize = 10;
/// Of an account, in use at a time: each gets as many calls and streams as a person.
pub const MOST_PRINCIPALS: i64 = 50;
/// Of an assertion, in seconds.
const LONGEST_LIFE: i64 = 300;
const LONGEST_JTI: usize = 128;

/// Another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account that it belongs to, or [`INSTALLATION`].
    pub account: Uuid,
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it may call.
    pub scopes: Vec<String>,
    /// The accounts that one of the installation is for.
    pub account_ids: Vec<Uuid>,
    /// Whether one of the installation is for every account.
    pub all_accounts: bool,
    /// Since when it is disabled.
    pub disabled_at: Option<Timestamp>,
    /// Rises when its tokens are revoked.
    pub epoch: i64,
    /// Rises with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Principal {
    /// Whether it is for `account`.
    pub fn may_enter(&self, account: Uuid) -> bool {
        let belongs = self.account != INSTALLATION && self.account == account;
        belongs || self.all_accounts || self.account_ids.contains(&account)
    }

    /// The account that it is for, if there is only one.
    pub fn only_account(&self) -> Option<Uuid> {
        match self.account_ids.as_slice() {
            _ if self.all_accounts => None,
            [] if self.account != INSTALLATION => Some(self.account),
            [account] => Some(*account),
            _ => None,
        }
    }

    /// Whether the tokens of `before` say too much for what it is now.
    pub fn outdates(&self, before: &Self) -> bool {
        self.scopes != before.scopes
            || self.account_ids != before.account_ids
            || self.all_accounts != before.all_accounts
            || (self.disabled_at.is_some() && before.disabled_at.is_none())
    }
}

/// One way to prove who a principal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: Uuid,
    /// What it is checked against.
    pub proof: Proof,
    /// Rises when the tokens that were got for it are revoked.
    pub epoch: i64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it expires, if ever.
    pub expires_at: Option<Timestamp>,
}

/// What a credential is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An Ed25519 public key, 32 bytes.
    Key(Vec<u8>),
    /// The hash of a secret, and its last characters.
    Secret {
        /// SHA-256.
        hash: Vec<u8>,
        /// For people.
        hint: String,
    },
}

impl Credential {
    /// Whether it has not expired.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }

    /// How long a token may live that is got for it now.
    pub fn token_life(&self, now: Timestamp) -> Duration {
        let left = self.expires_at.map_or(ACCESS_LIFE, |expiry| diwan_runtime::clock::between(now, expiry));
        left.min(ACCESS_LIFE)
    }

    /// Whether it would be good for longer with `expiry`.
    pub fn is_prolonged_by(&self, expiry: Option<Timestamp>) -> bool {
        self.expires_at.is_some_and(|before| expiry.is_none_or(|expiry| expiry > before))
    }

    /// Whether tokens got for it until now could outlive `expiry`.
    pub fn is_cut_short_by(&self, expiry: Option<Timestamp>, now: Timestamp) -> bool {
        let latest = after(now, ACCESS_LIFE);
        expiry.is_some_and(|expiry| expiry < self.expires_at.map_or(latest, |expires_at| expires_at.min(latest)))
    }
}

/// What somebody presents as his credential.
pub enum Presentation<'a> {
    /// A secret.
    Secret(Secret),
    /// A JWT, and the credential whose key has signed it, as it says itself.
    Assertion(&'a str, Uuid),
}

/// What an assertion says, once it is proved.
pub struct Taken {
    /// The hash of its id, which is taken once.
    pub jti_hash: Vec<u8>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// How somebody has proved who he is.
pub enum Proved {
    /// By a secret.
    BySecret,
    /// By an assertion, which is to be taken.
    ByAssertion(Taken),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    jti: String,
}

/// RFC 7519 section 4.1.3: one, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl<'a> Presentation<'a> {
    /// Reads what is presented; `None` for what is neither.
    pub fn read(text: &'a str) -> Option<Self> {
        if let Some(secret) = Secret::read(text) {
            return Some(Self::Secret(secret));
        }
        if text.len() > diwan_access::token::LONGEST {
            return None;
        }
        let kid = jsonwebtoken::decode_header(text).ok()?.kid?;
        Some(Self::Assertion(text, Uuid::try_parse(&kid).ok()?))
    }

    /// The credential that it says to be.
    pub fn credential(&self) -> Uuid {
        match self {
            Self::Secret(secret) => secret.id,
            Self::Assertion(_, id) => *id,
        }
    }

    /// Whether it proves that `credential` of `principal` is presented.
    pub fn proves(&self, credential: &Credential, principal: Uuid, now: Timestamp) -> Option<Proved> {
        match (self, &credential.proof) {
            (Self::Secret(secret), Proof::Secret { hash, .. }) => {
                same(&secret.hash(), hash).then_some(Proved::BySecret)
            }
            (Self::Assertion(token, _), Proof::Key(key)) => {
                assertion(token, key, principal, now).map(Proved::ByAssertion)
            }
            _ => None,
        }
    }
}

/// Checks an assertion as RFC 7523 section 3 asks for, by our own clock.
fn assertion(token: &str, key: &[u8], principal: Uuid, now: Timestamp) -> Option<Taken> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims::<&str>(&[]);
    let claims: Claims = jsonwebtoken::decode(token, &DecodingKey::from_ed_der(key), &validation).ok()?.claims;
    let now = now.as_second();
    let himself = |claim: &str| Uuid::try_parse(claim).is_ok_and(|id| id == principal);
    let for_us = match &claims.aud {
        Audience::One(audience) => audience == AUDIENCE,
        Audience::Several(audiences) => audiences.iter().any(|audience| audience == AUDIENCE),
    };
    let in_time = claims.exp > now && claims.exp <= now + LONGEST_LIFE + LEEWAY && claims.nbf <= now + LEEWAY;
    let named = !claims.jti.is_empty() && claims.jti.len() <= LONGEST_JTI;
    if !(himself(&claims.iss) && himself(&claims.sub) && for_us && in_time && named) {
        return None;
    }
    let expires_at = Timestamp::from_second(claims.exp).ok()?;
    Some(Taken { jti_hash: Sha256::digest(claims.jti).to_vec(), expires_at })
}

#[cfg(test)]
#[path = "principal_tests.rs"]
mod tests;
