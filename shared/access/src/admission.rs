//! Lets a caller through to a method, or refuses.

use std::sync::Arc;

use diwan_fault::{Code, Fault};
use diwan_proto::access::v1 as proto;
use http::{HeaderMap, HeaderValue};

use crate::{Caller, Rule, Rules, Verifier};

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

    /// The rules that it applies.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether identity has been heard recently enough for users to be let in.
    pub fn knows_revocations(&self) -> bool {
        self.verifier.knows_revocations()
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
        if admits(rule, &caller) {
            return Ok(caller);
        }
        Err(match caller {
            Caller::Nobody => Fault::new(Code::Unauthenticated, "UNAUTHENTICATED"),
            _ => Fault::new(Code::PermissionDenied, "PERMISSION_DENIED"),
        })
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
            declares(rule, proto::Caller::User) && (any_role || rule.roles().any(|role| role == user.role) || by_grant)
        }
        Caller::Service(name) => {
            declares(rule, proto::Caller::Service) && (rule.services.is_empty() || rule.services.contains(name))
        }
        Caller::Operator(operator) => {
            let scoped = !rule.scope.is_empty() && operator.scopes.contains(&rule.scope);
            declares(rule, proto::Caller::Operator) && scoped
        }
    }
}
