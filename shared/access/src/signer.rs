//! Makes tokens with the private key of one issuer.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_proto::identity::v1::JsonWebKey;
use diwan_runtime::{Clock, ids};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;

use crate::{
    keys::{self, KeysError, OPERATOR, PrivateKey},
    token::{AUDIENCE, OPERATOR_LIFE, OperatorClaims, Registered, ServiceClaims},
};

const SERVICE_TOKEN_LIFE: i64 = 60;

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("a token could not be signed")]
pub enum SignError {
    /// The key does not work.
    Key(#[from] jsonwebtoken::errors::Error),
    /// What came out is no text that a header can carry.
    Header(#[from] http::header::InvalidHeaderValue),
}

/// Signs as one issuer. Clones are cheap: every call to a service has one.
#[derive(Clone)]
pub struct Signer(Arc<Issuer>);

struct Issuer {
    name: String,
    key: PrivateKey,
    clock: Arc<dyn Clock>,
    /// One service token an audience, used until half of its life is over.
    cached: Mutex<HashMap<String, (i64, HeaderValue)>>,
}

impl Signer {
    /// Signs as `issuer` with its key from `folder`.
    ///
    /// # Errors
    /// When the key is missing or unreadable.
    pub fn load(folder: &Path, issuer: &str, clock: Arc<dyn Clock>) -> Result<Self, KeysError> {
        Ok(Self::with(keys::private_key(folder, issuer)?, issuer, clock))
    }

    /// Signs as `issuer` with a private key in PKCS#8.
    ///
    /// # Errors
    /// [`KeysError::Private`].
    pub fn from_pkcs8(der: &[u8], issuer: &str, clock: Arc<dyn Clock>) -> Result<Self, KeysError> {
        Ok(Self::with(PrivateKey::read(der)?, issuer, clock))
    }

    fn with(key: PrivateKey, issuer: &str, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Issuer { name: issuer.to_owned(), key, clock, cached: Mutex::default() }))
    }

    /// The public half of its key.
    pub fn public_key(&self) -> JsonWebKey {
        keys::json_web_key(&self.0.key.public)
    }

    /// What every token of this issuer says: good from now for `life`.
    pub fn registered(&self, audience: &str, life: Duration) -> Registered {
        Registered::new(&self.0.name, audience, self.0.clock.now(), life)
    }

    /// Signs claims.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SignError> {
        let header = Header { kid: Some(self.0.key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, claims, &self.0.key.key)?)
    }

    /// This service's token for a call to `service`, good for at least half a minute.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn service_token(&self, service: &str) -> Result<HeaderValue, SignError> {
        let now = self.0.clock.now().as_second();
        let mut cached = self.0.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, token)) = cached.get(service)
            && now < *until
        {
            return Ok(token.clone());
        }
        let registered = self.registered(service, Duration::from_secs(SERVICE_TOKEN_LIFE.unsigned_abs()));
        let token = HeaderValue::try_from(self.sign(&ServiceClaims { registered })?)?;
        cached.insert(service.to_owned(), (now + SERVICE_TOKEN_LIFE / 2, token.clone()));
        Ok(token)
    }

    /// An operator's token for `name` with `scopes`, good for `life`, at most [`OPERATOR_LIFE`]; its claims say its id. Only the
    /// signer of [`OPERATOR`] makes good ones.
    pub fn operator_claims(&self, name: &str, scopes: Vec<String>, life: Duration) -> OperatorClaims {
        debug_assert_eq!(self.0.name, OPERATOR);
        let registered = self.registered(AUDIENCE, life.min(OPERATOR_LIFE));
        OperatorClaims { registered, jti: ids::new_id(), sub: name.to_owned(), scopes }
    }

    /// The same, signed.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn operator_token(&self, name: &str, scopes: Vec<String>, life: Duration) -> Result<String, SignError> {
        self.sign(&self.operator_claims(name, scopes, life))
    }
}
