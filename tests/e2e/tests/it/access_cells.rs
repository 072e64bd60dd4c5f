//! Tries every cell of the access table, through the gateway and at the service's own port: who may call a method reaches its
//! handler, whatever that says to an empty request; who may not is refused at the door.

use std::collections::BTreeSet;

use diwan_access::{Rules, Signer};
use diwan_e2e::installation::Topology;
use diwan_proto::access::v1::{Caller, Grant, Role, Rule};
use diwan_runtime::SystemClock;
use diwan_transport::ANSWERED_BY;
use prost_reflect::{MethodDescriptor, prost::Message as _};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use crate::{
    access_table::TABLE,
    crew::{Crew, LEAD},
    dynamic::{self, bad, message, methods},
    support::{self, Fresh},
};

/// The services of an installation, as callers.
const SERVICES: [&str; 6] = ["identity", "team", "conversation", "mailbox", "billing", "gateway"];
/// So many calls at a time: more would only make the gateway shed them.
const AT_ONCE: usize = 4;

/// Who calls: a column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Without a token.
    Nobody,
    /// A user, with the roles and grants that the table knows; in this account or another one.
    User { role: Role, grants: Vec<Grant>, what: &'static str },
    /// A USER who leads a team.
    Lead,
    /// A service principal that acts for the owner.
    Delegate,
    /// A service principal as itself.
    Principal,
    /// A service, by its own token.
    Service(&'static str),
    /// An operator with the scope that the method wants, and one with every other scope.
    Operator { scoped: bool },
}

/// What a row says of a column.
fn may(row: &str, column: &Column) -> bool {
    let words: BTreeSet<&str> = row.split(' ').collect();
    let says = |word: &str| words.contains(word);
    says("public")
        || match column {
            Column::Nobody => false,
            Column::User { role, grants, .. } => {
                says("users")
                    || (says("admins") || says("leads")) && *role != Role::User
                    || (says("owner") || says("campaigns") || says("subscription")) && *role == Role::Owner
                    || says("campaigns") && grants.contains(&Grant::Campaigns)
                    || says("subscription") && grants.contains(&Grant::SubscriptionManagement)
            }
            Column::Lead => says("users") || says("leads"),
            Column::Delegate => {
                let owners = ["users", "admins", "leads", "owner", "campaigns", "subscription"];
                !says("in-person") && owners.into_iter().any(says)
            }
            Column::Principal => says("principal"),
            Column::Service(name) => says("services") || says(&format!("service:{name}")),
            Column::Operator { scoped } => *scoped && row.contains("operator:"),
        }
}

/// The row that a declaration amounts to.
fn row_of(rule: &Rule) -> String {
    let mut words = Vec::new();
    for caller in rule.callers() {
        match caller {
            Caller::Public => words.push("public".to_owned()),
            Caller::User if rule.grants().any(|grant| grant == Grant::Campaigns) => words.push("campaigns".into()),
            Caller::User if !rule.grants.is_empty() => words.push("subscription".into()),
            Caller::User if rule.team_lead => words.push("leads".into()),
            Caller::User => words.push(match rule.roles.len() {
                0 => "users".into(),
                1 => "owner".into(),
                _ => "admins".into(),
            }),
            Caller::Principal => words.push("principal".into()),
            Caller::Service if rule.services.is_empty() => words.push("services".into()),
            Caller::Service => words.extend(rule.services.iter().map(|name| format!("service:{name}"))),
            Caller::Operator => words.push(format!("operator:{}", rule.scope)),
            Caller::Unspecified => {}
        }
    }
    if rule.in_person {
        words.push("in-person".into());
    }
    words.join(" ")
}

fn name(method: &MethodDescriptor) -> String {
    dynamic::path(method).trim_start_matches('/').to_owned()
}

fn row(method: &str) -> Option<&'static str> {
    TABLE.iter().find(|(known, _)| *known == method).map(|(_, row)| *row)
}

#[test]
fn every_method_has_its_row_and_every_row_its_method() {
    let (rules, methods) = (Rules::load().unwrap(), methods());
    let mut problems = Vec::new();
    for method in &methods {
        let (name, rule) = (name(method), rules.of(&dynamic::path(method)).unwrap());
        if row(&name).is_none() {
            problems.push(format!(
                "no row; if this is what the product says, add:\n    (\"{name}\", \"{}\"),",
                row_of(rule)
            ));
        }
    }
    for (known, row) in TABLE {
        if !methods.iter().any(|method| name(method) == *known) {
            problems.push(format!("{known} is no method"));
        }
        let words = [
            "public",
            "users",
            "admins",
            "leads",
            "owner",
            "campaigns",
            "subscription",
            "in-person",
            "principal",
            "services",
        ];
        let known_word = |word: &str| {
            words.contains(&word)
                || word.strip_prefix("service:").is_some_and(|name| SERVICES.contains(&name))
                || word.strip_prefix("operator:").is_some_and(|scope| !scope.is_empty())
        };
        problems
            .extend(row.split(' ').filter(|word| !known_word(word)).map(|word| format!("{known}: no word {word:?}")));
    }
    let unique: BTreeSet<_> = TABLE.iter().map(|(name, _)| name).collect();
    assert_eq!(unique.len(), TABLE.len(), "a method has two rows");
    assert!(problems.is_empty(), "tests/e2e/tests/it/access_table.rs:\n{}", problems.join("\n"));
}

/// What came of one call: its code, and who let the caller in.
struct Outcome {
    code: Code,
    answered_by: Option<String>,
}

/// The request in which everything is wrong that can be: a handler that is reached refuses it and changes nothing.
fn wrong(method: &MethodDescriptor) -> Vec<u8> {
    message(&method.input(), "", &mut |_, field| bad(field)).encode_to_vec()
}

/// Calls `method`, with headers alone: what the messages say does not matter here.
async fn call(channel: &Channel, method: &MethodDescriptor, header: Option<(&'static str, String)>) -> Outcome {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::once(dynamic::Raw(wrong(method))));
    if let Some((name, value)) = header {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    request.set_timeout(std::time::Duration::from_secs(30));
    let path = PathAndQuery::try_from(dynamic::path(method)).unwrap();
    let answered_by = |metadata: &tonic::metadata::MetadataMap| {
        metadata.get(ANSWERED_BY).map(|value| value.to_str().unwrap().to_owned())
    };
    match grpc.streaming(request, path, dynamic::RawCodec).await {
        Err(status) => Outcome { code: status.code(), answered_by: answered_by(status.metadata()) },
        Ok(response) => {
            let answered_by = answered_by(response.metadata());
            // The head of a stream is enough; a unary method fails in its trailers, if at all.
            let code = if method.is_server_streaming() {
                Code::Ok
            } else {
                response.into_inner().message().await.err().as_ref().map_or(Code::Ok, Status::code)
            };
            Outcome { code, answered_by }
        }
    }
}

/// An installation with somebody for each column.
struct Stage {
    fresh: Fresh,
    gateway: Channel,
    crew: Crew,
    rules: Rules,
}

impl Stage {
    async fn set() -> Self {
        let mut settings: Vec<(String, String)> = Vec::new();
        for scope in ["ADDRESS", "USER", "ACCOUNT"] {
            for class in ["SIGN_IN", "READ", "WRITE", "STREAM"] {
                settings.push((format!("DIWAN_GATEWAY_LIMIT_{scope}_{class}"), "100000/100000".into()));
            }
        }
        settings.push(("DIWAN_GATEWAY_STREAMS_PER_USER".into(), "1000".into()));
        settings.push(("DIWAN_IDENTITY_FAILURES_PER_IP".into(), "60000".into()));
        let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let fresh = support::start(Topology::Separate, &settings).await;
        let gateway = open(fresh.installation.gateway()).await;
        let crew = Crew::gather(&fresh).await;
        Self { fresh, gateway, crew, rules: Rules::load().unwrap() }
    }

    /// The header by which `column` is known to `service`, for a call of `method`.
    async fn header(
        &self,
        column: &Column,
        method: &MethodDescriptor,
        service: &str,
    ) -> Option<(&'static str, String)> {
        let parent = method.parent_service();
        let granted = parent.full_name();
        match column {
            Column::Nobody => None,
            Column::User { what, .. } if method.name() == "SignOut" => {
                Some(("authorization", format!("Bearer {}", self.crew.token_anew(what).await)))
            }
            Column::User { what, .. } => Some(("authorization", format!("Bearer {}", self.crew.token(what)))),
            Column::Lead if method.name() == "SignOut" => {
                Some(("authorization", format!("Bearer {}", self.crew.token_anew(LEAD).await)))
            }
            Column::Lead => Some(("authorization", format!("Bearer {}", self.crew.token(LEAD)))),
            Column::Delegate => Some(("authorization", format!("Bearer {}", self.crew.principal(granted).delegate))),
            Column::Principal => Some(("authorization", format!("Bearer {}", self.crew.principal(granted).own))),
            Column::Service(name) => Some((
                "diwan-service-token",
                self.signer(name).service_token(service).unwrap().to_str().unwrap().to_owned(),
            )),
            Column::Operator { scoped } => {
                let wanted = &self.rules.of(&dynamic::path(method)).unwrap().scope;
                let all = self.rules.all().map(|(_, rule)| rule.scope.clone()).collect::<BTreeSet<_>>();
                let given = all.into_iter().filter(|scope| !scope.is_empty() && (scope == wanted) == *scoped).collect();
                let life = std::time::Duration::from_mins(5);
                let token = self.signer("operator").operator_token("test", given, life).unwrap();
                Some(("authorization", format!("Bearer {token}")))
            }
        }
    }

    fn signer(&self, issuer: &str) -> Signer {
        Signer::load(&self.fresh.installation.keys(), issuer, SystemClock::shared()).unwrap()
    }

    /// Tries one cell at one door; what is wrong with it.
    async fn try_cell(&self, method: &MethodDescriptor, column: &Column, door: &Door) -> Option<String> {
        let name = name(method);
        let header = self.header(column, method, door.service).await;
        let outcome = call(&door.channel, method, header).await;
        // A method without a row is for nobody.
        let row = row(&name).unwrap_or_default();
        let may = may(row, column) && !door.closed_to(column);
        // The service whose method it is says that it let the caller in; INTERNAL and UNIMPLEMENTED are before the handler.
        let reached = outcome.answered_by.as_deref() == Some(door.owner)
            && ![Code::Internal, Code::Unimplemented, Code::Unavailable].contains(&outcome.code);
        let refused = outcome.answered_by.as_deref() != Some(door.owner)
            && [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented].contains(&outcome.code);
        // No token says who leads: the method's own service refuses who leads none, as the door would.
        let refused = refused
            || (row == "leads"
                && matches!(column, Column::User { .. })
                && outcome.answered_by.as_deref() == Some(door.owner)
                && outcome.code == Code::PermissionDenied);
        let reached = reached && (row != "leads" || outcome.code != Code::PermissionDenied);
        let right = if may { reached } else { refused };
        (!right).then(|| {
            let wanted = if may { "reaches the handler" } else { "is refused at the door" };
            let at = if door.is_gateway { "the gateway" } else { door.service };
            format!("{name}: {column:?} at {at}: {wanted}? {:?} by {:?}", outcome.code, outcome.answered_by)
        })
    }

    /// The doors at which a method can be knocked: the gateway's, and its service's own.
    async fn doors(&self, method: &MethodDescriptor) -> Vec<Door> {
        let package = method.parent_service().full_name().split('.').nth(1).unwrap().to_owned();
        let owner = match package.as_str() {
            // Every service has a feed and data of its own; identity's stand for all.
            "feed" | "export" => "identity",
            package => SERVICES.into_iter().find(|service| *service == package).unwrap(),
        };
        let gateway = Door { channel: self.gateway.clone(), service: "gateway", owner, is_gateway: true };
        match self.fresh.installation.address(owner) {
            Some(address) => {
                vec![gateway, Door { channel: open(address).await, service: owner, owner, is_gateway: false }]
            }
            None => vec![gateway],
        }
    }
}

struct Door {
    channel: Channel,
    /// For whom a service's token is, there.
    service: &'static str,
    /// Whose handler it leads to.
    owner: &'static str,
    is_gateway: bool,
}

impl Door {
    /// Services do not come through the gateway: it refuses whoever brings a service's token, at public methods too.
    fn closed_to(&self, column: &Column) -> bool {
        self.is_gateway && matches!(column, Column::Service(_))
    }
}

async fn open(address: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn columns() -> Vec<Column> {
    let user = |what, role, grants: &[Grant]| Column::User { role, grants: grants.to_vec(), what };
    let mut columns = vec![
        Column::Nobody,
        user("owner", Role::Owner, &[]),
        user("admin", Role::Admin, &[]),
        user("admin with CAMPAIGNS", Role::Admin, &[Grant::Campaigns]),
        user("admin with SUBSCRIPTION_MANAGEMENT", Role::Admin, &[Grant::SubscriptionManagement]),
        user("user", Role::User, &[]),
        user("user with CAMPAIGNS", Role::User, &[Grant::Campaigns]),
        user("user with SUBSCRIPTION_MANAGEMENT", Role::User, &[Grant::SubscriptionManagement]),
        Column::Lead,
        // What of it another account's owner sees is `every_method`'s to try: the doors let him in as any owner.
        user("owner of another account", Role::Owner, &[]),
        Column::Delegate,
        Column::Principal,
        Column::Operator { scoped: true },
        Column::Operator { scoped: false },
    ];
    columns.extend(SERVICES.map(Column::Service));
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_of_the_access_table_is_as_it_says_at_the_gateway_and_at_the_service() {
    use futures::StreamExt as _;
    let stage = Stage::set().await;
    let columns = columns();
    let mut problems = Vec::new();
    let mut tried = 0;
    for method in methods() {
        for door in stage.doors(&method).await {
            let cells = columns.iter().map(|column| stage.try_cell(&method, column, &door));
            let found: Vec<_> = futures::stream::iter(cells).buffer_unordered(AT_ONCE).collect().await;
            tried += found.len();
            problems.extend(found.into_iter().flatten());
        }
    }
    assert!(problems.is_empty(), "{} of {tried} cells:\n{}", problems.len(), problems.join("\n"));
    assert!(tried >= 2000, "only {tried} cells");
}
