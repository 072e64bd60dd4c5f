//! Passwords: argon2id on a bounded pool.

use std::{num::NonZero, sync::Arc};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::error::Error;

/// OWASP's Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A password, wiped when it is dropped.
pub type Password = Zeroizing<String>;

/// Hashes and checks passwords. Clones share the pool.
#[derive(Clone)]
pub struct Passwords {
    /// Bounds memory and CPU: each run holds a permit for as long as it computes, even when its caller has gone.
    permits: Arc<Semaphore>,
    argon2: Argon2<'static>,
    /// The hash of nobody's password, so that a check without a user costs what every other does.
    nobody: Arc<str>,
}

impl Passwords {
    /// As many runs at a time as `runs`.
    ///
    /// # Errors
    /// [`Error::Password`]: the machine has no randomness.
    pub fn new(runs: NonZero<usize>) -> Result<Self, Error> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let unknown: [u8; 32] = rand::random();
        let nobody = argon2.hash_password(&unknown).map_err(failed)?.to_string().into();
        Ok(Self { permits: Arc::new(Semaphore::new(runs.get())), argon2, nobody })
    }

    /// The hash to store, in PHC format.
    ///
    /// # Errors
    /// [`Error::Password`].
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        let argon2 = self.argon2.clone();
        self.run(move || Ok(argon2.hash_password(password.as_bytes()).map_err(failed)?.to_string())).await
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash it is not, after the same work.
    ///
    /// # Errors
    /// [`Error::Password`].
    pub async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool, Error> {
        let (argon2, known) = (self.argon2.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        self.run(move || match argon2.verify_password(password.as_bytes(), hash.as_str()) {
            Ok(()) => Ok(known),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(failed(error)),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.permits.clone().acquire_owned().await.map_err(failed)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(failed)?
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Password(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_by_any() {
        let passwords = Passwords::new(NonZero::<usize>::MIN).unwrap();
        let password = |text: &str| Zeroizing::new(text.to_owned());
        let hash = passwords.hash(password("كلمة سر طويلة")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(password("كلمة سر طويلة"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(password("another one"), Some(hash)).await.unwrap());
        assert!(!passwords.verify(password("another one"), None).await.unwrap());
    }
}
