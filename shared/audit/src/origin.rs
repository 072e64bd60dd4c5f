//! Who calls, what, and from where, while his request is answered.

use std::{future::Future, net::IpAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use diwan_access::{Caller, User};
pub use diwan_proto::audit::v1::{ActorKind, Origin};
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use uuid::Uuid;

use crate::{ledger, shown};

/// The header in which a service tells another on whose behalf it calls. It counts only beside a service's own token; the gateway
/// refuses it from outside.
pub const ORIGIN_HEADER: http::HeaderName = http::HeaderName::from_static("diwan-origin-bin");

tokio::task_local! {
    static PRESENT: Arc<Call>;
}

/// One call, while it is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Who, what and from where.
    pub origin: Origin,
    /// The account of the user or principal who calls a method that may change something: then each transaction that writes
    /// leaves an entry in the log of that account, whether its handler thinks of it or not.
    pub accountable: Option<Uuid>,
}

impl Call {
    /// The call of `caller`, whom admission has let through to the method at `path`, from `address`. `told` is on whose behalf he
    /// says that he calls, which only a service may.
    pub fn new(caller: &Caller, path: &str, address: Option<IpAddr>, told: Option<Origin>) -> Self {
        let account = match caller {
            Caller::User(user) => Some(user.account_id),
            Caller::Principal(principal) => Some(principal.account_id),
            Caller::Nobody | Caller::Service(_) | Caller::Operator(_) => None,
        };
        let origin = of_call(caller, path, address, told);
        Self { origin, accountable: account.filter(|_| shown::may_change(path)) }
    }
}

/// Runs the answer to a call.
pub fn scope<F: Future>(call: Arc<Call>, answer: F) -> impl Future<Output = F::Output> {
    PRESENT.scope(call, answer)
}

/// As [`scope`], for work that does not wait.
pub fn sync_scope<T>(call: Arc<Call>, work: impl FnOnce() -> T) -> T {
    PRESENT.sync_scope(call, work)
}

/// The present request's, or the system's, outside of any request.
pub fn current() -> Origin {
    PRESENT.try_with(|call| call.origin.clone()).unwrap_or_else(|_| {
        let work = ledger::work();
        Origin { actor: ActorKind::System.into(), method: work, ..Origin::default() }
    })
}

/// Whose log is to say what the present call changes: see [`Call::accountable`].
pub fn accountable() -> Option<Uuid> {
    PRESENT.try_with(|call| call.accountable).ok().flatten()
}

/// That of a call which admission has let through. `path` is the method's path, `told` what a service says on whose behalf it calls.
fn of_call(caller: &Caller, path: &str, address: Option<IpAddr>, told: Option<Origin>) -> Origin {
    let method = path.trim_start_matches('/').to_owned();
    let client_address = address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
    let by = |actor: ActorKind| Origin { actor: actor.into(), method, client_address, ..Origin::default() };
    match caller {
        Caller::Nobody => by(ActorKind::Stranger),
        Caller::User(User { user_id, actor: Some(principal), .. }) => {
            Origin { actor_id: principal.sub.to_string(), acting_for: user_id.to_string(), ..by(ActorKind::Principal) }
        }
        Caller::User(user) => Origin {
            actor_id: user.user_id.to_string(),
            session_id: user.session_id.to_string(),
            ..by(ActorKind::User)
        },
        Caller::Principal(principal) => {
            Origin { actor_id: principal.mandate.sub.to_string(), ..by(ActorKind::Principal) }
        }
        Caller::Operator(operator) => Origin {
            actor_id: operator.token_id.to_string(),
            actor_name: operator.name.clone(),
            ..by(ActorKind::Operator)
        },
        Caller::Service(name) => match told {
            Some(told) => Origin { through: name.clone(), ..told },
            None => Origin { actor_name: name.clone(), ..by(ActorKind::Service) },
        },
    }
}

/// Puts into `headers` on whose behalf this process calls, if it is on anybody's.
pub fn tell(headers: &mut HeaderMap) {
    if let Ok(told) = PRESENT.try_with(|call| BASE64_STANDARD.encode(call.origin.encode_to_vec()))
        && let Ok(told) = HeaderValue::try_from(told)
    {
        headers.insert(ORIGIN_HEADER, told);
    }
}

/// What [`tell`] put there.
pub fn told(headers: &HeaderMap) -> Option<Origin> {
    let told = BASE64_STANDARD.decode(headers.get(ORIGIN_HEADER)?).ok()?;
    Origin::decode(told.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use diwan_proto::access::v1::Role;

    fn user() -> Caller {
        let (account_id, user_id, session_id) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        Caller::User(User { account_id, user_id, session_id, role: Role::Admin, grants: Vec::new(), actor: None })
    }

    #[tokio::test]
    async fn a_call_made_for_somebody_is_his_through_the_service_that_makes_it() {
        let address = "::ffff:192.0.2.1".parse().unwrap();
        let his = of_call(&user(), "/diwan.identity.v1.UserService/InviteUser", Some(address), None);
        let mut headers = HeaderMap::new();
        scope(Arc::new(Call { origin: his, accountable: None }), async { tell(&mut headers) }).await;
        let made = of_call(&Caller::Service("identity".into()), "/diwan.team.v1.X/Y", None, told(&headers));
        assert_eq!((made.actor(), &*made.actor_id), (ActorKind::User, &*Uuid::from_u128(2).to_string()));
        assert_eq!((&*made.through, &*made.client_address), ("identity", "192.0.2.1"));
        assert_eq!(made.method, "diwan.identity.v1.UserService/InviteUser");
    }

    #[test]
    fn who_is_no_service_speaks_for_himself_whatever_he_tells() {
        let forged = Origin { actor: ActorKind::Operator.into(), actor_name: "root".into(), ..Origin::default() };
        let made = of_call(&user(), "/diwan.team.v1.X/Y", None, Some(forged));
        assert_eq!((made.actor(), &*made.actor_name), (ActorKind::User, ""));
    }

    #[test]
    fn a_user_is_accountable_for_what_may_change_something() {
        let of = |path: &str| Call::new(&user(), path, None, None).accountable;
        assert_eq!(of("/diwan.team.v1.TeamService/UpdateTeam"), Some(Uuid::from_u128(1)));
        assert_eq!(of("/diwan.team.v1.TeamService/ListTeams"), None);
        assert_eq!(of("/diwan.conversation.v1.InboxService/WatchInbox"), None);
    }

    #[tokio::test]
    async fn outside_of_requests_the_system_acts() {
        let seen = ledger::within("end expired invitation", async { current() }).await;
        assert_eq!((seen.actor(), &*seen.method), (ActorKind::System, "end expired invitation"));
    }
}
