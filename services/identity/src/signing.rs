//! The keys that sign access tokens: held open in this process, changed in the database.
//!
//! A token is signed without a look at the database: the reader of revocations, which looks every second and after each
//! change anyway, keeps [`AccessSigner`] up to date, and which key signs follows from the clock.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use diwan_access::{
    Signer,
    keys::{self, ACCESS},
    token::Registered,
};
use diwan_proto::identity::v1::RevocationSubject;
use diwan_runtime::{Clock, clock::after};
use diwan_vault::Vault;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;

use crate::{
    domain::{AHEAD, INSTALLATION, Ring, SigningKey},
    error::Error,
    store::{
        revocations,
        signing_keys::{self, Stored},
    },
};

/// Signs access tokens. Clones share the keys.
#[derive(Clone)]
pub struct AccessSigner {
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    held: Arc<RwLock<Vec<Held>>>,
}

struct Held {
    id: String,
    signs_from: Timestamp,
    signer: Signer,
}

impl AccessSigner {
    /// Holds no key yet.
    pub fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { clock, vault, held: Arc::default() }
    }

    /// What every access token says: good from now for `life`.
    pub fn registered(&self, audience: &str, life: Duration) -> Registered {
        Registered::new(ACCESS, audience, self.clock.now(), life)
    }

    /// Signs claims.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        let now = self.clock.now();
        let signer = {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            let due = held.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from);
            due.map(|key| key.signer.clone()).ok_or(Error::NoSigningKey)?
        };
        signer.sign(claims).map_err(|error| Error::Sign(error.into()))
    }

    /// Holds the keys of the set from now on, and no others. What is held already is not opened again.
    pub fn hold(&self, keys: &[Stored]) -> Result<(), Error> {
        let wanted = || keys.iter().filter(|stored| stored.sealed.is_some());
        {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            let holds =
                |key: &SigningKey| held.iter().any(|held| held.id == key.id && held.signs_from == key.signs_from);
            if held.len() == wanted().count() && wanted().all(|stored| holds(&stored.key)) {
                return Ok(());
            }
        }
        let opened = wanted().map(|stored| self.open(stored)).collect::<Result<_, _>>()?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    fn open(&self, stored: &Stored) -> Result<Held, Error> {
        let SigningKey { id, signs_from, .. } = stored.key.clone();
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::SigningKey(stored.key.id.clone(), error);
        let sealed = stored.sealed.as_deref().unwrap_or_default();
        let private = self.vault.open(&label(&id), sealed).map_err(|error| failed(error.into()))?;
        let signer = Signer::from_pkcs8(&private, ACCESS, self.clock.clone()).map_err(|error| failed(error.into()))?;
        Ok(Held { id, signs_from, signer })
    }

    /// Makes a key that signs from `signs_from` on.
    async fn make(&self, tx: &mut PgConnection, now: Timestamp, signs_from: Timestamp) -> Result<(), Error> {
        let made = keys::generate().map_err(|error| Error::NewKey(error.into()))?;
        let sealed = self.vault.seal(&label(&made.id), &made.private).map_err(|error| Error::NewKey(error.into()))?;
        tracing::info!(key = made.id, %signs_from, "a new signing key");
        let key = SigningKey {
            id: made.id,
            public: made.public,
            published_at: now,
            signs_from,
            expired_at: None,
            withdrawn_at: None,
            reason: String::new(),
        };
        signing_keys::insert(tx, &key, &sealed).await
    }

    /// Does what is due under the lock: keys leave the set whose tokens have expired; there is one that signs and a next one.
    pub async fn settle(&self, tx: &mut PgConnection, now: Timestamp, period: Duration) -> Result<(), Error> {
        signing_keys::lock(tx).await?;
        let keys = usable(tx).await?;
        let ring = Ring { keys: &keys, now };
        for key in keys.iter().filter(|key| !ring.accepts(key)) {
            signing_keys::expire(tx, &key.id, now).await?;
        }
        if ring.signing().is_none() {
            self.make(tx, now, now).await?;
        }
        if ring.next().is_none() {
            // Where the one that signs was made only now, its period begins now.
            let signs_from =
                if ring.signing().is_some() { ring.signs_next(period) } else { after(now, period.max(AHEAD)) };
            self.make(tx, now, signs_from).await?;
        }
        Ok(())
    }
}

/// Whether [`AccessSigner::settle`] would change anything.
pub fn is_due(ring: Ring<'_>) -> bool {
    ring.signing().is_none()
        || ring.next().is_none()
        || ring.keys.iter().any(|key| !key.has_left() && !ring.accepts(key))
}

/// The next key signs as soon as whoever keeps the set has had time to learn it.
pub async fn rotate(tx: &mut PgConnection, now: Timestamp) -> Result<(), Error> {
    signing_keys::lock(tx).await?;
    let keys = usable(tx).await?;
    if let Some(next) = (Ring { keys: &keys, now }).next() {
        let soonest = after(next.published_at, AHEAD).max(now);
        signing_keys::sign_from(tx, &next.id, next.signs_from.min(soonest)).await?;
    }
    Ok(())
}

/// Takes a key out of the set. If it is the one that signs, the next one does from now on, however short a time it has been known.
pub async fn withdraw(tx: &mut PgConnection, id: &str, reason: &str, now: Timestamp) -> Result<(), Error> {
    signing_keys::lock(tx).await?;
    if !signing_keys::exists(tx, id).await? {
        return Err(Error::SigningKeyNotFound);
    }
    let keys = usable(tx).await?;
    let ring = Ring { keys: &keys, now };
    signing_keys::withdraw(tx, id, reason, now).await?;
    if let (Some(signing), Some(next)) = (ring.signing(), ring.next())
        && signing.id == id
    {
        signing_keys::sign_from(tx, &next.id, now).await?;
    }
    if let Some(key) = keys::subject(id) {
        // Its tokens are refused because nobody knows it any more. What was let in by one and is still open, a stream, hears of it so.
        let subject = (RevocationSubject::Credential, key);
        revocations::insert(tx, INSTALLATION, subject, 1, now).await?;
    }
    tracing::warn!(key = id, "a signing key was withdrawn");
    Ok(())
}

async fn usable(tx: &mut PgConnection) -> Result<Vec<SigningKey>, Error> {
    Ok(signing_keys::list(tx, 0).await?.into_iter().map(|stored| stored.key).collect())
}

/// Where a private key is sealed: a copy of it in another row does not open.
fn label(id: &str) -> Vec<u8> {
    [b"signing_keys.sealed ", id.as_bytes()].concat()
}
