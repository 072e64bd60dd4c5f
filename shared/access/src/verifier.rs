//! Turns the tokens of a request into a caller.

use std::sync::Arc;

use diwan_fault::{Code, Fault};
use diwan_proto::identity::v1::KeySet;
use diwan_runtime::Clock;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use uuid::Uuid;

use crate::{
    Caller, Keys, Operator, Principal, Revocations, SERVICE_TOKEN, User,
    proven::{Claims, Proven, ProvenTokens, Unproven, unauthenticated},
    revocations::{BOUND, Standing},
    token::{AUDIENCE, LEEWAY, Mandate, OPERATOR_LIFE, OperatorClaims, PrincipalClaims, Registered, UserClaims},
};

/// Verifies tokens for one process.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<Keys>,
    proven: Arc<ProvenTokens>,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// Verifies against `keys` and refuses what `revocations` names.
    pub fn new(keys: Keys, revocations: Revocations, clock: Arc<dyn Clock>) -> Self {
        Self { keys: Arc::new(keys), proven: Arc::default(), revocations, clock }
    }

    /// Who sent these headers to `service`. A service's own token goes before a user's: it says who is on the line.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a token that is not good; UNAVAILABLE, reason REVOCATION_UNKNOWN, for a user's or an operator's
    /// while identity has been silent for too long.
    pub fn caller(&self, headers: &HeaderMap, service: &str) -> Result<Caller, Fault> {
        if let Some(token) = only(headers, &SERVICE_TOKEN)? {
            return self.service(token.to_str().map_err(|_| unauthenticated("not ASCII"))?, service);
        }
        let Some(header) = only(headers, &AUTHORIZATION)? else { return Ok(Caller::Nobody) };
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

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub(crate) fn knows_revocations(&self) -> bool {
        self.revocations.is_current(self.clock.now())
    }

    /// A token whose signature is good. Nothing else of it is looked at.
    pub(crate) fn proven(&self, token: &str) -> Result<Arc<Proven>, Fault> {
        self.proven.prove(token, &self.keys).map_err(|unproven| match unproven {
            // A process that has just started has not been told of any key yet: its callers are not to lose their sessions.
            Unproven::UnknownKey if !self.knows_revocations() => unknown(),
            Unproven::UnknownKey => unauthenticated("unknown key"),
            Unproven::Refused(fault) => fault,
        })
    }

    fn bearer(&self, token: &str) -> Result<Caller, Fault> {
        let proven = self.proven(token)?;
        self.check(proven.claims.registered(), AUDIENCE)?;
        match &proven.claims {
            Claims::User(claims) => self.user(claims),
            Claims::Principal(claims) => self.principal(claims),
            Claims::Operator(claims) => self.operator(claims),
            Claims::Service(..) => Err(unauthenticated("a service's token is no bearer token")),
        }
    }

    fn user(&self, UserClaims { user: claims, act }: &UserClaims) -> Result<Caller, Fault> {
        self.stands(claims.subjects().into_iter().chain(act.iter().flat_map(Mandate::subjects)))?;
        Ok(Caller::User(User {
            account_id: claims.acc,
            user_id: claims.sub,
            session_id: claims.sid,
            role: claims.role(),
            grants: claims.grants(),
            actor: act.clone(),
        }))
    }

    fn principal(&self, claims: &PrincipalClaims) -> Result<Caller, Fault> {
        let principal = Principal::from(claims.clone());
        self.stands(principal.subjects())?;
        Ok(Caller::Principal(principal))
    }

    fn operator(&self, claims: &OperatorClaims) -> Result<Caller, Fault> {
        let life = claims.registered.exp.saturating_sub(claims.registered.iat);
        if u64::try_from(life).is_ok_and(|life| life > OPERATOR_LIFE.as_secs()) {
            return Err(unauthenticated("good for too long"));
        }
        match self.revocations.operator_standing(claims, self.clock.now()) {
            Standing::Good => Ok(Caller::Operator(Operator {
                name: claims.sub.clone(),
                token_id: claims.jti,
                scopes: claims.scopes.clone(),
            })),
            Standing::Revoked => Err(revoked()),
            Standing::Unknown => Err(unknown()),
        }
    }

    /// Refuses where one of the subjects has a higher epoch by now.
    pub(crate) fn stands(&self, subjects: impl IntoIterator<Item = (Uuid, i64)>) -> Result<(), Fault> {
        match self.revocations.standing(subjects, self.clock.now()) {
            Standing::Good => Ok(()),
            Standing::Revoked => Err(revoked()),
            Standing::Unknown => Err(unknown()),
        }
    }

    /// The service that signed `token` for `audience`.
    pub(crate) fn service(&self, token: &str, audience: &str) -> Result<Caller, Fault> {
        let proven = self.proven(token)?;
        let Claims::Service(issuer, claims) = &proven.claims else {
            return Err(unauthenticated("not a service's token"));
        };
        self.check(&claims.registered, audience)?;
        Ok(Caller::Service(issuer.clone()))
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

/// The value of a header that may be there once: of two of them, whoever reads the other one would see somebody else.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Fault> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { Err(unauthenticated("two tokens")) } else { Ok(value) }
}

pub(crate) fn revoked() -> Fault {
    unauthenticated("revoked")
}

pub(crate) fn unknown() -> Fault {
    Fault::new(Code::Unavailable, "REVOCATION_UNKNOWN").retry_after(BOUND)
}
