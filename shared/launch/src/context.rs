//! What a service is given when it starts.

use std::{path::PathBuf, sync::Arc};

use diwan_access::{Admission, Keys, Revocations, Rules, Signer, Verifier, keys::KeysError};
use diwan_runtime::{Clock, Drain, Env};
use diwan_transport::Network;

use crate::follow;

/// What every service needs of its process.
#[derive(Clone)]
pub struct Context {
    /// Settings.
    pub env: Env,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When to end, and the workers that end then.
    pub drain: Drain,
    /// Where the other services are.
    pub network: Network,
    /// Who may call what.
    pub admission: Admission,
    /// Signs this service's own tokens.
    pub signer: Signer,
    /// The folder of keys.
    pub keys: PathBuf,
}

/// A process that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The keys cannot be read.
    #[error("the keys cannot be read")]
    Keys(#[from] KeysError),
    /// The rules cannot be read, which the build rules out.
    #[error("the access rules cannot be read")]
    Rules(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Context {
    /// The context of `service`, whose keys stand in the folder `DIWAN_KEYS` (`.diwan/keys` where it is not set). From
    /// now on it follows identity's revocations and the keys of access tokens.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        service: &'static str,
        env: Env,
        clock: Arc<dyn Clock>,
        drain: Drain,
        network: Network,
    ) -> Result<Self, SetupError> {
        let keys = env.path("DIWAN_KEYS", ".diwan/keys");
        let signer = Signer::load(&keys, service, clock.clone())?;
        let revocations = Revocations::default();
        let public = Keys::load(&keys)?;
        let access = public.access().clone();
        let verifier = Verifier::new(public, revocations.clone(), clock.clone());
        let rules = Rules::load().map_err(|error| SetupError::Rules(error.into()))?;
        follow::revocations(&drain, network.to("identity").signed(&signer), revocations, access, clock.clone());
        let admission = Admission::new(Arc::new(rules), verifier);
        Ok(Self { env, clock, drain, network, admission, signer, keys })
    }

    /// The same process as another service sees it: one follower of revocations serves all.
    ///
    /// # Errors
    /// When the key of that service cannot be read.
    pub fn beside(&self, service: &'static str) -> Result<Self, SetupError> {
        Ok(Self { signer: Signer::load(&self.keys, service, self.clock.clone())?, ..self.clone() })
    }
}
