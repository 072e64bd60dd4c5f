//! What the gateway knows of each method without decoding a message, read from the descriptors.

use std::collections::HashMap;

use diwan_access::Rules;
use diwan_proto::{DESCRIPTORS, access::v1::Caller};
use diwan_transport::SERVICES;
use prost_reflect::{DescriptorError, DescriptorPool, MethodDescriptor, prost_types::method_options::IdempotencyLevel};

/// The two reflection services, whose protos are not ours. Health is in no table: nothing limits it.
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What kind of work a method is, for limits and for what is shed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Anybody may call it, to get in: sign-up, sign-in, refresh.
    SignIn,
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
    /// Its answer is a stream that stays open.
    Stream,
}

impl Class {
    /// Every class.
    pub(crate) const ALL: [Self; 4] = [Self::SignIn, Self::Read, Self::Write, Self::Stream];
}

/// One method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    /// Distinct among the methods, below [`Methods::count`].
    pub(crate) index: usize,
    /// What kind of work it is.
    pub(crate) class: Class,
    /// Whether a second call does no harm: declared NO_SIDE_EFFECTS, one request and one answer.
    pub(crate) repeatable: bool,
    /// Whether the client sends one message and no more.
    pub(crate) one_request: bool,
}

/// Every method, by path.
#[derive(Debug)]
pub(crate) struct Methods(HashMap<String, Method>);

impl Methods {
    /// Reads the descriptors; `rules` says what is public.
    pub(crate) fn load(rules: &Rules) -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(DESCRIPTORS)?;
        let services: Vec<_> = pool.services().collect();
        let declared = services.iter().flat_map(|service| service.methods().collect::<Vec<_>>());
        let mut methods: HashMap<_, _> = declared
            .enumerate()
            .map(|(index, method)| {
                let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
                let described = describe(index, &path, &method, rules);
                (path, described)
            })
            .collect();
        for path in REFLECTION {
            let index = methods.len();
            let method = Method { index, class: Class::Read, repeatable: false, one_request: false };
            methods.insert(path.to_owned(), method);
        }
        Ok(Self(methods))
    }

    /// The method at `path`.
    pub(crate) fn of(&self, path: &str) -> Option<&Method> {
        self.0.get(path)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Method> {
        self.0.values()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The service whose package a path is in: `/diwan.team.v1.TeamService/GetTeam` is team's.
pub(crate) fn service_of(path: &str) -> Option<&'static str> {
    let package = path.strip_prefix("/diwan.")?.split('.').next()?;
    SERVICES.into_iter().find(|service| *service == package)
}

fn describe(index: usize, path: &str, method: &MethodDescriptor, rules: &Rules) -> Method {
    let options = method.method_descriptor_proto().options.as_ref();
    let harmless = options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects);
    let public = rules.of(path).is_some_and(|rule| rule.callers().any(|caller| caller == Caller::Public));
    let class = match (method.is_server_streaming(), harmless, public) {
        (true, ..) => Class::Stream,
        (_, true, _) => Class::Read,
        (_, _, true) => Class::SignIn,
        _ => Class::Write,
    };
    let one_request = !method.is_client_streaming();
    Method { index, class, repeatable: class == Class::Read && one_request, one_request }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_classed_by_what_it_declares_and_every_list_may_be_repeated() {
        let methods = Methods::load(&Rules::load().unwrap()).unwrap();
        let class = |path: &str| methods.of(path).unwrap().class;
        assert_eq!(class("/diwan.identity.v1.SessionService/SignIn"), Class::SignIn);
        assert_eq!(class("/diwan.team.v1.TeamService/ListTeams"), Class::Read);
        assert_eq!(class("/diwan.team.v1.TeamService/CreateTeam"), Class::Write);
        assert_eq!(class("/diwan.conversation.v1.InboxService/WatchInbox"), Class::Stream);
        assert!(methods.of("/grpc.health.v1.Health/Check").is_none());
        for (path, method) in &methods.0 {
            let name = path.rsplit('/').next().unwrap();
            if ["Get", "List", "BatchGet"].iter().any(|verb| name.starts_with(verb)) && method.class != Class::Stream {
                assert!(method.repeatable, "{path} reads and does not declare idempotency_level = NO_SIDE_EFFECTS");
            }
        }
    }
}
