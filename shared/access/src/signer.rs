//! Makes tokens with the private key of one issuer.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_runtime::Clock;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;

use crate::{
    keys::{self, KeysError, OPERATOR, PrivateKey},
    token::{AUDIENCE, OperatorClaims, Registered, ServiceClaims},
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

    /// What every token of this issuer says: good from now for `life`.
    pub fn registered(&self, audience: &str, life: Duration) -> Registered {
        let now = self.clock.now().as_second();
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        Registered {
            iss: self.issuer.clone(),
            aud: audience.to_owned(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(life),
        }
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

    /// An operator's token for `name` with `scopes`, good for `life`. Only the signer of [`OPERATOR`] makes good ones.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn operator_token(&self, name: &str, scopes: Vec<String>, life: Duration) -> Result<String, SignError> {
        debug_assert_eq!(self.issuer, OPERATOR);
        self.sign(&OperatorClaims { registered: self.registered(AUDIENCE, life), sub: name.to_owned(), scopes })
    }
}
