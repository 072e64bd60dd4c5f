//! Makes tokens with the private key of one issuer.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_proto::identity::v1::JsonWebKey;
use diwan_runtime::{Clock, ids};
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
pub struct SignError(#[from] jsonwebtoken::errors::Error);

/// Signs as one issuer.
#[derive(Clone)]
pub struct Signer {
    issuer: String,
    key: PrivateKey,
    clock: Arc<dyn Clock>,
    /// One service token an audience, used until half of its life is over.
    cached: Arc<Mutex<HashMap<String, (i64, String)>>>,
}

impl Signer {
    /// Signs as `issuer` with its key from `folder`.
    ///
    /// # Errors
    /// When the key is missing or unreadable.
    pub fn load(folder: &Path, issuer: &str, clock: Arc<dyn Clock>) -> Result<Self, KeysError> {
        Ok(Self { issuer: issuer.to_owned(), key: keys::private_key(folder, issuer)?, clock, cached: Arc::default() })
    }

    /// Signs as `issuer` with a private key in PKCS#8.
    ///
    /// # Errors
    /// [`KeysError::Private`].
    pub fn from_pkcs8(der: &[u8], issuer: &str, clock: Arc<dyn Clock>) -> Result<Self, KeysError> {
        Ok(Self { issuer: issuer.to_owned(), key: PrivateKey::read(der)?, clock, cached: Arc::default() })
    }

    /// The public half of its key.
    pub fn public_key(&self) -> JsonWebKey {
        keys::json_web_key(&self.key.public)
    }

    /// What every token of this issuer says: good from now for `life`.
    pub fn registered(&self, audience: &str, life: Duration) -> Registered {
        Registered::new(&self.issuer, audience, self.clock.now(), life)
    }

    /// Signs claims.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SignError> {
        let header = Header { kid: Some(self.key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, claims, &self.key.key)?)
    }

    /// This service's token for a call to `service`, good for at least half a minute.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn service_token(&self, service: &str) -> Result<String, SignError> {
        let now = self.clock.now().as_second();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, token)) = cached.get(service)
            && now < *until
        {
            return Ok(token.clone());
        }
        let registered = self.registered(service, Duration::from_secs(SERVICE_TOKEN_LIFE.unsigned_abs()));
        let token = self.sign(&ServiceClaims { registered })?;
        cached.insert(service.to_owned(), (now + SERVICE_TOKEN_LIFE / 2, token.clone()));
        Ok(token)
    }

    /// An operator's token for `name` with `scopes`, good for `life`, at most [`OPERATOR_LIFE`]; its claims say its id. Only the
    /// signer of [`OPERATOR`] makes good ones.
    pub fn operator_claims(&self, name: &str, scopes: Vec<String>, life: Duration) -> OperatorClaims {
        debug_assert_eq!(self.issuer, OPERATOR);
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
