//! An installation around the service under test: keys, callers with real tokens, and places for the other services.

use std::{sync::Arc, time::Duration};

use diwan_access::{
    Admission, Keys, Revocations, Rules, Signer, Verifier, keys,
    token::{AUDIENCE, AccessClaims, Epochs},
};
use diwan_launch::{Component, Context};
use diwan_proto::access::v1::{Grant, Role};
use diwan_runtime::{Clock, Drain, Env, ids};
use diwan_transport::{Network, Transport};
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use tempfile::TempDir;
use tonic::Request;
use uuid::Uuid;

const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// Keys, admission and a network in this process. Dropping it drains what runs in it.
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the services are: a test fills the slots of those that it fakes.
    pub network: Network,
    /// Ends the workers.
    pub drain: Drain,
    /// What admission knows. It counts as up to date for ever; teach it with `learn(&[..], Timestamp::MAX)`.
    pub revocations: Revocations,
    /// Who may call what.
    pub admission: Admission,
    keys: TempDir,
}

/// A user whom a test calls as.
#[derive(Clone, Debug)]
pub struct Person {
    /// His account.
    pub account: Uuid,
    /// He.
    pub user: Uuid,
    /// His role.
    pub role: Role,
    /// His grants.
    pub grants: Vec<Grant>,
}

impl Person {
    /// The owner of a new account.
    pub fn owner() -> Self {
        Self { account: ids::new_id(), user: ids::new_id(), role: Role::Owner, grants: Vec::new() }
    }

    /// A new colleague with this role and no grants.
    #[must_use]
    pub fn colleague(&self, role: Role) -> Self {
        Self { account: self.account, user: ids::new_id(), role, grants: Vec::new() }
    }
}

impl World {
    /// One with fresh keys and no services.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let keys = TempDir::new().expect("a temporary folder");
        keys::ensure(keys.path(), &keys::ISSUERS).expect("keys");
        let revocations = Revocations::default();
        revocations.learn(&[], Timestamp::MAX);
        let verifier = Verifier::new(Keys::load(keys.path()).expect("keys"), revocations.clone(), clock.clone());
        let admission = Admission::new(Arc::new(Rules::load().expect("rules")), verifier);
        Self { clock, network: Network::local(), drain: Drain::new(), revocations, admission, keys }
    }

    /// What a process gives to `service`.
    pub fn context(&self, service: &str, env: Env) -> Context {
        Context {
            env,
            clock: self.clock.clone(),
            drain: self.drain.clone(),
            network: self.network.clone(),
            admission: self.admission.clone(),
            signer: self.signer(service),
            keys: self.keys.path().to_owned(),
        }
    }

    /// Starts `component` on the database at `url` and puts it in its place.
    pub async fn start(&self, component: &dyn Component, url: &str) {
        let env = Env::default().with(format!("DIWAN_{}_DATABASE_URL", component.name().to_uppercase()), url);
        let front = component.start(self.context(component.name(), env)).await.expect("the service starts");
        self.network.slot(component.name()).expect("a slot for the service").fill(front);
    }

    /// Signs as `issuer`.
    pub fn signer(&self, issuer: &str) -> Signer {
        Signer::load(self.keys.path(), issuer, self.clock.clone()).expect("the issuer's key")
    }

    /// The way to `service` for clients that bring their own tokens: see [`World::request`] and [`World::operator`].
    pub fn to(&self, service: &'static str) -> Transport {
        self.network.to(service)
    }

    /// The way to `service` with the token of the service `caller`.
    pub fn to_as(&self, service: &'static str, caller: &str) -> Transport {
        self.network.to(service).signed(&self.signer(caller))
    }

    /// An access token of `person`, good for an hour.
    pub fn token(&self, person: &Person) -> String {
        let signer = self.signer(keys::ACCESS);
        let claims = AccessClaims {
            registered: signer.registered(AUDIENCE, TOKEN_LIFE),
            sub: person.user,
            acc: person.account,
            sid: ids::new_id(),
            role: person.role.into(),
            grants: person.grants.iter().map(|grant| i32::from(*grant)).collect(),
            epochs: Epochs::default(),
        };
        signer.sign(&claims).expect("a token")
    }

    /// `message` as `person` sends it.
    pub fn request<M>(&self, person: &Person, message: M) -> Request<M> {
        bearing(&self.token(person), message)
    }

    /// `message` as an operator with `scope` sends it.
    pub fn operator<M>(&self, scope: &str, message: M) -> Request<M> {
        let token = self.signer(keys::OPERATOR).operator_token("test", vec![scope.to_owned()], TOKEN_LIFE);
        bearing(&token.expect("a token"), message)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

fn bearing<M>(token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert(AUTHORIZATION.as_str(), value);
    request
}
