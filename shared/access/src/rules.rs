//! The table of who may call what, read from the descriptors.

use std::collections::BTreeMap;

use diwan_proto::access::v1 as proto;
use prost_reflect::{DescriptorPool, MethodDescriptor};

/// What a method declares.
pub type Rule = proto::Rule;

/// Methods whose protos are not ours: whoever reaches the port may ask how it is and what it offers.
const FOREIGN: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Descriptors that the table cannot be read from. The build checks them, so this means a broken binary.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// They cannot be decoded.
    #[error("the descriptors cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// A method says nothing.
    #[error("{0} says nothing of who may call it")]
    Undeclared(String),
}

/// The rule of every method, by its path (`/package.Service/Method`).
#[derive(Clone, Debug)]
pub struct Rules(BTreeMap<String, Rule>);

impl Rules {
    /// The table of Diwan's own protos, with health and reflection.
    ///
    /// # Errors
    /// See [`RulesError`].
    pub fn load() -> Result<Self, RulesError> {
        let pool = DescriptorPool::decode(diwan_proto::DESCRIPTORS)?;
        let mut rules: BTreeMap<_, _> = FOREIGN.iter().map(|path| ((*path).to_owned(), public())).collect();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let rule = declared(&pool, &method).ok_or_else(|| RulesError::Undeclared(method.full_name().to_owned()))?;
            rules.insert(path_of(&method), rule);
        }
        Ok(Self(rules))
    }

    /// The rule of the method at `path`, or `None` where there is no such method.
    pub fn of(&self, path: &str) -> Option<&Rule> {
        self.0.get(path)
    }

    /// Every method's path with its rule, by path.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.0.iter().map(|(path, rule)| (path.as_str(), rule))
    }
}

fn public() -> Rule {
    Rule { callers: vec![proto::Caller::Public.into()], ..Rule::default() }
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn declared(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Rule> {
    let extension = pool.get_extension_by_name("diwan.access.v1.rule")?;
    let rule: Rule = method.options().get_extension(&extension).as_message()?.transcode_to().ok()?;
    (!rule.callers.is_empty()).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_protos_declare() {
        let rules = Rules::load().unwrap();
        let invite = rules.of("/diwan.identity.v1.UserService/InviteUser").unwrap();
        assert_eq!(invite.callers().collect::<Vec<_>>(), [proto::Caller::User]);
        assert_eq!(invite.roles().collect::<Vec<_>>(), [proto::Role::Owner, proto::Role::Admin]);
        assert!(rules.of("/diwan.identity.v1.UserService/Nothing").is_none());
        assert!(rules.all().count() > 30);
    }
}
