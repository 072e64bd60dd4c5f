//! What a token says once its signature is checked, kept so that the next call with the same token costs a look-up instead of a
//! verification. Times, audience and revocations are looked at in every call.

use std::sync::Arc;

use diwan_fault::{Code, Fault};
use jsonwebtoken::{Algorithm, Validation};
use quick_cache::sync::Cache;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Keys,
    keys::{ACCESS, OPERATOR},
    token::{LONGEST, OperatorClaims, PrincipalClaims, Registered, ServiceClaims, UserClaims},
};

/// Some ten megabytes of the tokens that are in use; the least used go first.
const KEPT: usize = 8192;

/// A token whose signature is good.
pub(crate) struct Proven {
    /// The key that signed it.
    pub(crate) kid: String,
    pub(crate) claims: Claims,
}

/// What it says. The key decides which kind it is, the claims never do.
pub(crate) enum Claims {
    User(UserClaims),
    Principal(PrincipalClaims),
    Operator(OperatorClaims),
    /// With the service that signed it.
    Service(String, ServiceClaims),
}

/// Why a token proves nothing.
pub(crate) enum Unproven {
    /// Nobody known has the key that it names.
    UnknownKey,
    /// Its form, its signature or its claims are not good.
    Refused(Fault),
}

/// The tokens that were proven last.
pub(crate) struct ProvenTokens(Cache<Box<str>, Arc<Proven>>);

impl Default for ProvenTokens {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl ProvenTokens {
    /// What `token` proves by `keys`: a key that is withdrawn proves nothing any more, whatever it proved before.
    pub(crate) fn prove(&self, token: &str, keys: &Keys) -> Result<Arc<Proven>, Unproven> {
        if let Some(known) = self.0.get(token)
            && keys.find(&known.kid).is_some()
        {
            return Ok(known);
        }
        let proven = Arc::new(verify(token, keys)?);
        self.0.insert(token.into(), proven.clone());
        Ok(proven)
    }
}

fn verify(token: &str, keys: &Keys) -> Result<Proven, Unproven> {
    if token.len() > LONGEST {
        return Err(refused("too long"));
    }
    let header = jsonwebtoken::decode_header(token).map_err(unreadable)?;
    let kid = header.kid.ok_or_else(|| refused("no key id"))?;
    let (issuer, key) = keys.find(&kid).ok_or(Unproven::UnknownKey)?;
    // Only the signature and the issuer: audience and times are checked by our own clock, in every call.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.set_required_spec_claims::<&str>(&[]);
    validation.set_issuer(&[issuer]);
    let said: Value = jsonwebtoken::decode(token, &key, &validation).map_err(unreadable)?.claims;
    let claims = match issuer {
        ACCESS if said.get("kind").is_some() => Claims::Principal(read(said)?),
        ACCESS => Claims::User(read(said)?),
        OPERATOR => Claims::Operator(read(said)?),
        service => Claims::Service(service.to_owned(), read(said)?),
    };
    Ok(Proven { kid, claims })
}

impl Claims {
    /// What every token says.
    pub(crate) fn registered(&self) -> &Registered {
        match self {
            Self::User(claims) => &claims.user.registered,
            Self::Principal(claims) => &claims.registered,
            Self::Operator(claims) => &claims.registered,
            Self::Service(_, claims) => &claims.registered,
        }
    }
}

fn read<C: DeserializeOwned>(claims: Value) -> Result<C, Unproven> {
    serde_json::from_value(claims).map_err(|_| refused("other claims"))
}

fn refused(why: &'static str) -> Unproven {
    Unproven::Refused(unauthenticated(why))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: jsonwebtoken::errors::Error) -> Unproven {
    tracing::debug!(%error, "a token was refused");
    Unproven::Refused(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED"))
}

/// The caller learns that his token is not good, the log learns why.
pub(crate) fn unauthenticated(why: &'static str) -> Fault {
    tracing::debug!(why, "a token was refused");
    Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")
}
