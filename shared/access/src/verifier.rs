//! Turns the tokens of a request into a caller.

use std::sync::Arc;

use diwan_fault::{Code, Fault};
use diwan_proto::identity::v1::KeySet;
use diwan_runtime::Clock;
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, Validation};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Caller, Keys, Operator, Principal, Revocations, SERVICE_TOKEN, User,
    keys::{ACCESS, OPERATOR},
    revocations::{BOUND, Standing},
    token::{
        AUDIENCE, LEEWAY, LONGEST, Mandate, OPERATOR_LIFE, OperatorClaims, PrincipalClaims, Registered, ServiceClaims,
        UserClaims,
    },
};

/// Verifies tokens for one process.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<Keys>,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// Verifies against `keys` and refuses what `revocations` names.
    pub fn new(keys: Keys, revocations: Revocations, clock: Arc<dyn Clock>) -> Self {
        Self { keys: Arc::new(keys), revocations, clock }
    }

    /// Who sent these headers to `service`. A service's own token goes before a user's: it says who is on the line.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a token that is not good; UNAVAILABLE, reason REVOCATION_UNKNOWN, for a user's or an operator's
    /// while identity has been silent for too long.
    pub fn caller(&self, headers: &HeaderMap, service: &str) -> Result<Caller, Fault> {
        if let Some(token) = headers.get(SERVICE_TOKEN) {
            return self.service(token.to_str().map_err(|_| unauthenticated("not ASCII"))?, service);
        }
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Caller::Nobody) };
        let (scheme, token) =
            header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(|| unauthenticated("no scheme"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthenticated("not a bearer token"));
        }
        self.bearer(token.trim())
    }

    /// The keys of access tokens; `None` while identity has been silent for too long.
    pub(crate) fn key_set(&self) -> Option<KeySet> {
        self.knows_revocations().then(|| self.keys.access().set())
    }

    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub(crate) fn knows_revocations(&self) -> bool {
        self.revocations.is_current(self.clock.now())
    }

    fn bearer(&self, token: &str) -> Result<Caller, Fault> {
        match self.issuer(token)? {
            ACCESS => self.access(token),
            OPERATOR => self.operator(token),
            _ => Err(unauthenticated("a service's token is no bearer token")),
        }
    }

    fn access(&self, token: &str) -> Result<Caller, Fault> {
        let claims: Value = self.claims(token, ACCESS)?;
        if claims.get("kind").is_some() { self.principal(claims) } else { self.user(claims) }
    }

    fn user(&self, claims: Value) -> Result<Caller, Fault> {
        let UserClaims { user: claims, act } = read(claims)?;
        self.check(&claims.registered, AUDIENCE)?;
        self.stands(claims.subjects().into_iter().chain(act.iter().flat_map(Mandate::subjects)))?;
        Ok(Caller::User(User {
            account_id: claims.acc,
            user_id: claims.sub,
            session_id: claims.sid,
            role: claims.role(),
            grants: claims.grants(),
            actor: act,
        }))
    }

    fn principal(&self, claims: Value) -> Result<Caller, Fault> {
        let claims: PrincipalClaims = read(claims)?;
        self.check(&claims.registered, AUDIENCE)?;
        let principal = Principal::from(claims);
        self.stands(principal.subjects())?;
        Ok(Caller::Principal(principal))
    }

    /// Refuses where one of the subjects has a higher epoch by now.
    pub(crate) fn stands(&self, subjects: impl IntoIterator<Item = (Uuid, i64)>) -> Result<(), Fault> {
        match self.revocations.standing(subjects, self.clock.now()) {
            Standing::Good => Ok(()),
            Standing::Revoked => Err(unauthenticated("revoked")),
            Standing::Unknown => Err(unknown()),
        }
    }

    fn operator(&self, token: &str) -> Result<Caller, Fault> {
        let claims: OperatorClaims = self.claims(token, OPERATOR)?;
        self.check(&claims.registered, AUDIENCE)?;
        let life = claims.registered.exp.saturating_sub(claims.registered.iat);
        if u64::try_from(life).is_ok_and(|life| life > OPERATOR_LIFE.as_secs()) {
            return Err(unauthenticated("good for too long"));
        }
        match self.revocations.operator_standing(&claims, self.clock.now()) {
            Standing::Good => {
                Ok(Caller::Operator(Operator { name: claims.sub, token_id: claims.jti, scopes: claims.scopes }))
            }
            Standing::Revoked => Err(unauthenticated("revoked")),
            Standing::Unknown => Err(unknown()),
        }
    }

    /// The service that signed `token` for `audience`.
    pub(crate) fn service(&self, token: &str, audience: &str) -> Result<Caller, Fault> {
        let issuer = self.issuer(token)?.to_owned();
        if issuer == ACCESS || issuer == OPERATOR {
            return Err(unauthenticated("not a service's token"));
        }
        let claims: ServiceClaims = self.claims(token, &issuer)?;
        self.check(&claims.registered, audience)?;
        Ok(Caller::Service(issuer))
    }

    /// Who owns the key that a token names. The key decides what a token is, the claims never do.
    fn issuer(&self, token: &str) -> Result<&str, Fault> {
        if token.len() > LONGEST {
            return Err(unauthenticated("too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(refused)?;
        let kid = header.kid.ok_or_else(|| unauthenticated("no key id"))?;
        self.keys.find(&kid).map(|(issuer, _)| issuer).ok_or_else(|| self.unknown_key())
    }

    pub(crate) fn claims<C: DeserializeOwned>(&self, token: &str, issuer: &str) -> Result<C, Fault> {
        let header = jsonwebtoken::decode_header(token).map_err(refused)?;
        let kid = header.kid.unwrap_or_default();
        let (owner, key) = self.keys.find(&kid).ok_or_else(|| self.unknown_key())?;
        if owner != issuer {
            return Err(unauthenticated("another issuer's key"));
        }
        // Only the signature: audience, issuer and times are checked by our own clock, in `check`.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        validation.set_issuer(&[issuer]);
        Ok(jsonwebtoken::decode(token, &key, &validation).map_err(refused)?.claims)
    }

    /// A process that has just started has not been told of any key yet: its callers are not to lose their sessions for that.
    fn unknown_key(&self) -> Fault {
        if self.knows_revocations() { unauthenticated("unknown key") } else { unknown() }
    }

    fn check(&self, registered: &Registered, audience: &str) -> Result<(), Fault> {
        let now = self.clock.now().as_second();
        if registered.aud != audience {
            return Err(unauthenticated("another audience"));
        }
        if registered.exp <= now {
            return Err(unauthenticated("expired"));
        }
        if registered.nbf > now.saturating_add(LEEWAY) {
            return Err(unauthenticated("not yet good"));
        }
        Ok(())
    }
}

fn unknown() -> Fault {
    Fault::new(Code::Unavailable, "REVOCATION_UNKNOWN").retry_after(BOUND)
}

/// The caller learns that his token is not good, the log learns why.
fn unauthenticated(why: &'static str) -> Fault {
    tracing::debug!(why, "a token was refused");
    Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")
}

fn read<C: DeserializeOwned>(claims: Value) -> Result<C, Fault> {
    serde_json::from_value(claims).map_err(|_| unauthenticated("other claims"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: jsonwebtoken::errors::Error) -> Fault {
    tracing::debug!(%error, "a token was refused");
    Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")
}
