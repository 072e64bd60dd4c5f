//! An installation around the service under test: keys, callers with real tokens, and places for the other services.

use std::{sync::Arc, time::Duration};

use diwan_access::{
    AccessKeys, Admission, Keys, Revocations, Rules, Signer, Verifier, keys,
    token::{AUDIENCE, AccessClaims, Epochs, Kind, Mandate, MandateEpochs, PrincipalClaims},
};
use diwan_launch::{Component, Context};
use diwan_proto::{
    access::v1::{Grant, Role},
    identity::v1::{GetKeySetRequest, KeySet, signing_key_service_client::SigningKeyServiceClient},
};
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
    /// Signs the tokens of [`Person`]s, in identity's place.
    access: Signer,
    access_keys: AccessKeys,
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
        let key = keys::generate().expect("a key");
        let access = Signer::from_pkcs8(&key.private, keys::ACCESS, clock.clone()).expect("a key");
        let public = Keys::load(keys.path()).expect("keys");
        let access_keys = public.access().clone();
        access_keys.learn(&KeySet { keys: vec![access.public_key()] }, Timestamp::MIN);
        let verifier = Verifier::new(public, revocations.clone(), clock.clone());
        let admission = Admission::new(Arc::new(Rules::load().expect("rules")), verifier);
        Self {
            clock,
            network: Network::local(),
            drain: Drain::new(),
            revocations,
            admission,
            keys,
            access,
            access_keys,
        }
    }

    /// The keys of the tokens of [`Person`]s, as identity tells them.
    pub fn access_keys(&self) -> KeySet {
        KeySet { keys: vec![self.access.public_key()] }
    }

    /// Accepts the tokens of a real identity in this world, beside its own: its keys are asked for once.
    pub async fn accept_tokens_of_identity(&self) {
        let mut identity = SigningKeyServiceClient::new(self.to("identity"));
        let answer = identity.get_key_set(GetKeySetRequest {}).await.expect("identity's keys").into_inner();
        let mut set = answer.key_set.expect("a set");
        set.keys.push(self.access.public_key());
        self.access_keys.learn(&set, Timestamp::MAX);
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
        if issuer == keys::ACCESS {
            return self.access.clone();
        }
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

    /// An access token of `person` in a session of its own, good for an hour.
    pub fn token(&self, person: &Person) -> String {
        self.token_of(person, ids::new_id())
    }

    /// An access token of a session of `person`, good for an hour.
    pub fn token_of(&self, person: &Person, session: Uuid) -> String {
        let signer = &self.access;
        let claims = AccessClaims {
            registered: signer.registered(AUDIENCE, TOKEN_LIFE),
            sub: person.user,
            acc: person.account,
            sid: session,
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

    /// `message` as a service principal of an account sends it, which may call these services and methods.
    pub fn principal<M>(&self, (account, principal): (Uuid, Uuid), scopes: &[&str], message: M) -> Request<M> {
        let signer = &self.access;
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let claims = PrincipalClaims {
            registered: signer.registered(AUDIENCE, TOKEN_LIFE),
            kind: Kind::Principal,
            acc: account,
            epoch: 0,
            act: Mandate { sub: principal, cred: principal, scopes, epochs: MandateEpochs::default() },
        };
        bearing(&signer.sign(&claims).expect("a token"), message)
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
