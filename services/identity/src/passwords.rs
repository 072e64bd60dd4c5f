//! Passwords: argon2id on a bounded pool with a bounded line in front of it.

mod pool;

use std::{num::NonZero, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc::PasswordHash,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zeroize::Zeroizing;

use crate::{error::Error, strength};
use pool::Pool;

/// OWASP's Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A password, wiped when it is dropped.
pub type Password = Zeroizing<String>;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether the password is the one that the hash was made of.
    pub right: bool,
    /// Whether the hash was made with other parameters than those of today.
    pub outdated: bool,
}

/// A place in the line.
#[derive(Debug)]
pub struct Place {
    _line: OwnedSemaphorePermit,
    _called: Option<OwnedSemaphorePermit>,
}

/// Hashes and checks passwords. Clones share the pool.
///
/// At most `runs` compute, so at most `runs` x 19 MiB are in use; each holds its permit for as long as it computes, even when its
/// caller has gone. At most `line` more wait, which costs the text of a password each; whoever comes then is refused at once.
#[derive(Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// One for each who computes or waits.
    places: Arc<Semaphore>,
    /// One for each who has been called and has not computed yet: who computes, and one more for each, so that no thread waits for reads.
    called: Arc<Semaphore>,
    pool: Pool,
    argon2: Argon2<'static>,
    /// The hash of nobody's password, so that a check without a user costs what every other does.
    nobody: Arc<str>,
}

impl Passwords {
    /// As many runs at a time as `runs`, and as many callers waiting as `line`.
    ///
    /// # Errors
    /// [`Error::Password`]: the machine has no randomness, or no thread left.
    pub fn new(runs: NonZero<usize>, line: usize) -> Result<Self, Error> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let unknown: [u8; 32] = rand::random();
        let nobody = argon2.hash_password(&unknown).map_err(failed)?.to_string().into();
        let places = runs.get().saturating_add(line).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            permits: Arc::new(Semaphore::new(runs.get())),
            places: Arc::new(Semaphore::new(places)),
            called: Arc::new(Semaphore::new(runs.get().saturating_mul(2).min(Semaphore::MAX_PERMITS))),
            pool: Pool::start(runs).map_err(failed)?,
            argon2,
            nobody,
        })
    }

    /// A place in the line once it is nearly one's turn, for whoever asks the database before he comes to the hashing: in a rush he who
    /// finds no place has cost nothing, and those who wait do not all ask at once. Nobody may come here with a connection to the
    /// database: those before him in the line need one.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub async fn called(&self) -> Result<Place, Error> {
        let place = self.place()?;
        let called = self.called.clone().acquire_owned().await.map_err(failed)?;
        Ok(Place { _called: Some(called), ..place })
    }

    fn place(&self) -> Result<Place, Error> {
        let line = self.places.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        Ok(Place { _line: line, _called: None })
    }

    /// The hash to store, in PHC format.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Password`].
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        let argon2 = self.argon2.clone();
        self.run("argon2", move || Ok(argon2.hash_password(password.as_bytes()).map_err(failed)?.to_string())).await
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash it is not, after the same work.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Password`].
    pub async fn verify(&self, password: Password, hash: Option<String>) -> Result<Checked, Error> {
        self.verify_at(self.place()?, password, hash).await
    }

    /// As [`Self::verify`], for who has his place already.
    ///
    /// # Errors
    /// [`Error::Password`].
    pub async fn verify_at(&self, place: Place, password: Password, hash: Option<String>) -> Result<Checked, Error> {
        let (argon2, known) = (self.argon2.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        self.run_at(place, "argon2", move || {
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            let outdated = is_outdated(&hash, argon2.params());
            match argon2.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(Checked { right: known, outdated }),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Checked { right: false, outdated }),
                Err(error) => Err(failed(error)),
            }
        })
        .await
    }

    /// Why a new password is too weak; see [`strength::weaknesses`].
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Password`].
    pub async fn weaknesses(&self, password: &Password, about: Vec<String>) -> Result<Vec<&'static str>, Error> {
        let password = password.clone();
        self.run("zxcvbn", move || Ok(strength::weaknesses(&password, &about))).await
    }

    async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run_at(self.place()?, name, work).await
    }

    async fn run_at<T: Send + 'static>(
        &self,
        place: Place,
        name: &'static str,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.permits.clone().acquire_owned().await.map_err(failed)?;
        let span = tracing::info_span!("compute", otel.name = name);
        let (answer, answered) = oneshot::channel();
        self.pool.give(Box::new(move || {
            let done = span.in_scope(work);
            drop((place, permit));
            // An error means that the caller has gone.
            let _ = answer.send(done);
        }));
        answered.await.map_err(failed)?
    }
}

fn is_outdated(hash: &PasswordHash, today: &Params) -> bool {
    let same = |params: &Params| {
        (params.m_cost(), params.t_cost(), params.p_cost()) == (today.m_cost(), today.t_cost(), today.p_cost())
    };
    hash.algorithm != Algorithm::Argon2id.ident() || !Params::try_from(hash).is_ok_and(|params| same(&params))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Password(error.into())
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    const ONE: NonZero<usize> = NonZero::<usize>::MIN;

    fn password(text: &str) -> Password {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_by_any() {
        let passwords = Passwords::new(ONE, 0).unwrap();
        let hash = passwords.hash(password("كلمة سر طويلة")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let right = Checked { right: true, outdated: false };
        let wrong = Checked { right: false, outdated: false };
        assert_eq!(passwords.verify(password("كلمة سر طويلة"), Some(hash.clone())).await.unwrap(), right);
        assert_eq!(passwords.verify(password("another one"), Some(hash)).await.unwrap(), wrong);
        assert_eq!(passwords.verify(password("another one"), None).await.unwrap(), wrong);
    }

    #[tokio::test]
    async fn a_hash_of_weaker_times_is_still_right_but_outdated() {
        let passwords = Passwords::new(ONE, 0).unwrap();
        let params = Params::new(8_192, 1, 1, None).unwrap();
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(b"an old password").unwrap();
        let checked = passwords.verify(password("an old password"), Some(old.to_string())).await.unwrap();
        assert_eq!(checked, Checked { right: true, outdated: true });
    }

    #[tokio::test]
    async fn who_waits_is_called_when_it_is_nearly_his_turn() {
        let passwords = Passwords::new(ONE, 3).unwrap();
        let (first, _second) = (passwords.called().await.unwrap(), passwords.called().await.unwrap());
        let (mut third, mut fourth) = (Box::pin(passwords.called()), Box::pin(passwords.called()));
        assert!(futures::poll!(&mut third).is_pending() && futures::poll!(&mut fourth).is_pending());
        assert!(matches!(passwords.called().await, Err(Error::Busy)), "four places");
        // Whoever has no reads to do passes them by, so that nobody who holds a connection waits for somebody who needs one.
        drop(fourth);
        assert!(passwords.run("test", || Ok(true)).await.unwrap());
        let nobody = passwords.verify_at(first, password("another one"), None).await.unwrap();
        assert!(!nobody.right);
        assert!(third.await.is_ok(), "the first has computed");
    }

    #[tokio::test]
    async fn who_finds_the_line_full_is_refused_at_once_and_who_waits_is_served() {
        let passwords = Passwords::new(ONE, 1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let computing = passwords.run("test", move || Ok(released.recv_timeout(Duration::from_mins(1)).is_ok()));
        let waiting = passwords.run("test", || Ok(true));
        let (mut computing, mut waiting) = (Box::pin(computing), Box::pin(waiting));
        assert!(futures::poll!(&mut computing).is_pending() && futures::poll!(&mut waiting).is_pending());
        assert!(matches!(passwords.run("test", || Ok(true)).await, Err(Error::Busy)));
        assert!(futures::poll!(&mut waiting).is_pending(), "one computes at a time");
        release.send(()).unwrap();
        assert!(computing.await.unwrap() && waiting.await.unwrap());
        assert!(passwords.run("test", || Ok(true)).await.unwrap(), "the line is empty again");
    }
}
