//! Lets a caller through to a method, or refuses.

use std::sync::Arc;

use diwan_fault::{Code, Fault};
use diwan_proto::{access::v1 as proto, identity::v1::KeySet};
use http::{HeaderMap, HeaderValue};

use crate::{Caller, Principal, Rule, Rules, Verifier};

/// The door of one process: the rules and the verifier.
#[derive(Clone)]
pub struct Admission {
    rules: Arc<Rules>,
    verifier: Verifier,
}

impl Admission {
    /// Applies `rules` to the callers that `verifier` proves.
    pub fn new(rules: Arc<Rules>, verifier: Verifier) -> Self {
        Self { rules, verifier }
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The rules that it applies.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether identity has been heard recently enough for users to be let in.
    pub fn knows_revocations(&self) -> bool {
        self.verifier.knows_revocations()
    }

    /// The public keys of access tokens; `None` while identity has not been heard recently enough.
    pub fn key_set(&self) -> Option<KeySet> {
        self.verifier.key_set()
    }

    /// The service whose own token for `service` this is.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a token that is not good.
    pub fn service_of(&self, token: &HeaderValue, service: &str) -> Result<String, Fault> {
        let unreadable = |_| Fault::new(Code::Unauthenticated, "UNAUTHENTICATED");
        match self.verifier.service(token.to_str().map_err(unreadable)?, service)? {
            Caller::Service(issuer) => Ok(issuer),
            _ => Err(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")),
        }
    }

    /// The caller who sent `headers` to the method at `path` of `service`, if he may call it. A public method needs no
    /// token and looks at none, so that an expired one does not keep anybody from signing in.
    ///
    /// # Errors
    /// UNIMPLEMENTED where there is no such method; UNAUTHENTICATED without a good token; PERMISSION_DENIED where the
    /// rule does not admit the caller.
    pub fn admit(&self, path: &str, headers: &HeaderMap, service: &str) -> Result<Caller, Fault> {
        let rule = self.rules.of(path).ok_or_else(|| Fault::new(Code::Unimplemented, "METHOD_UNKNOWN"))?;
        if declares(rule, proto::Caller::Public) {
            return Ok(Caller::Nobody);
        }
        let caller = self.verifier.caller(headers, service)?;
        if !admits(rule, &caller) {
            return Err(match caller {
                Caller::Nobody => Fault::new(Code::Unauthenticated, "UNAUTHENTICATED"),
                _ => Fault::new(Code::PermissionDenied, "PERMISSION_DENIED"),
            });
        }
        if caller.mandate().is_some_and(|mandate| !mandate.covers(path)) {
            let method = path.trim_start_matches('/');
            return Err(Fault::new(Code::PermissionDenied, "SCOPE_MISSING").with("method", method));
        }
        Ok(caller)
    }

    /// The operator who sent `headers` and whom [`Admission::admit`] has refused with `fault`, because his scopes do not allow the
    /// method or nobody's do. Who has no good token is nobody here, too.
    pub fn refused_operator(&self, fault: &Fault, headers: &HeaderMap, service: &str) -> Option<Caller> {
        let caller = || self.verifier.caller(headers, service).ok();
        let refused = if fault.code() == Code::PermissionDenied { caller() } else { None };
        refused.filter(|caller| matches!(caller, Caller::Operator(_)))
    }

    /// Whether a principal that was admitted some time ago, to a stream, would still be let in. Its token may have expired
    /// meanwhile.
    ///
    /// # Errors
    /// UNAUTHENTICATED when its access was cut since; UNAVAILABLE, reason REVOCATION_UNKNOWN, while identity has been silent
    /// for too long.
    pub fn recheck(&self, principal: &Principal) -> Result<(), Fault> {
        self.verifier.stands(principal.subjects())
    }
}

fn declares(rule: &Rule, caller: proto::Caller) -> bool {
    rule.callers().any(|declared| declared == caller)
}

/// Whether `rule` admits `caller`.
pub(crate) fn admits(rule: &Rule, caller: &Caller) -> bool {
    match caller {
        Caller::Nobody => declares(rule, proto::Caller::Public),
        Caller::User(user) => {
            let any_role = rule.roles.is_empty() && rule.grants.is_empty();
            let by_grant = rule.grants().any(|grant| user.grants.contains(&grant));
            let himself = user.actor.is_none() || !rule.in_person;
            declares(rule, proto::Caller::User)
                && himself
                && (any_role || rule.team_lead || rule.roles().any(|role| role == user.role) || by_grant)
        }
        Caller::Principal(_) => declares(rule, proto::Caller::Principal),
        Caller::Service(name) => {
            declares(rule, proto::Caller::Service) && (rule.services.is_empty() || rule.services.contains(name))
        }
        Caller::Operator(operator) => {
            let scoped = !rule.scope.is_empty() && operator.scopes.contains(&rule.scope);
            declares(rule, proto::Caller::Operator) && scoped
        }
    }
}
