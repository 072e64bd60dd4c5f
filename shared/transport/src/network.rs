//! Where the services of an installation are: in this process, or at addresses from the environment.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use diwan_runtime::{Env, env::EnvError};
use http::Uri;

use crate::{Front, Tls, Transport, channel::Channel, tls::Secured};

/// Every service that another one may call.
pub const SERVICES: [&str; 5] = ["identity", "team", "conversation", "mailbox", "billing"];

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// It is not set.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// It is no address such as `http://identity:7001`.
    #[error("{0} is no address such as http://identity:7001")]
    Address(String),
    /// It says something else of TLS than `DIWAN_MTLS` does: nobody is to take for safe what is not.
    #[error("{0} has to begin with https:// where DIWAN_MTLS is set, and with http:// where it is not")]
    Scheme(String),
}

/// A place for a service of this process, filled once it has started. Before that, calls to it are UNAVAILABLE: services
/// that call each other in a circle can be started in any order.
#[derive(Clone, Default)]
pub struct LocalSlot(Arc<OnceLock<Front>>);

impl LocalSlot {
    /// The service has started. A second time is ignored: one process has each service once.
    pub fn fill(&self, front: Front) {
        let _ = self.0.set(front);
    }
}

/// Where the services are: all in this process, or each at an address of its own.
#[derive(Clone)]
pub struct Network(Places);

#[derive(Clone)]
enum Places {
    Local(HashMap<&'static str, LocalSlot>),
    Remote(HashMap<&'static str, Channel>),
}

impl Network {
    /// Every service in this process, none started yet.
    pub fn local() -> Self {
        Self(Places::Local(SERVICES.iter().map(|name| (*name, LocalSlot::default())).collect()))
    }

    /// Every service at `DIWAN_<SERVICE>_ADDRESS`, without TLS. Connections are made when they are first needed.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn remote(env: &Env) -> Result<Self, NetworkError> {
        Self::remote_over(env, None)
    }

    /// Every service at `DIWAN_<SERVICE>_ADDRESS`, over `tls` if it is given.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn remote_over(env: &Env, tls: Option<&Tls>) -> Result<Self, NetworkError> {
        let mut channels = HashMap::new();
        for name in SERVICES {
            let variable = format!("DIWAN_{}_ADDRESS", name.to_uppercase());
            let address = env.require(&variable)?.to_owned();
            let address: Uri = address.parse().map_err(|_| NetworkError::Address(variable.clone()))?;
            let secured = tls.and_then(|tls| Secured::to(name, tls));
            match (address.scheme_str(), &secured) {
                (Some("https"), Some(_)) | (Some("http"), None) => {
                    channels.insert(name, Channel::new(address, secured))
                }
                _ => return Err(NetworkError::Scheme(variable)),
            };
        }
        Ok(Self(Places::Remote(channels)))
    }

    /// The place of a service of this process, or `None` where services are remote or there is no such one.
    pub fn slot(&self, service: &str) -> Option<&LocalSlot> {
        match &self.0 {
            Places::Local(slots) => slots.get(service),
            Places::Remote(_) => None,
        }
    }

    /// A way to a service of [`SERVICES`], without a token of ours.
    pub fn to(&self, service: &'static str) -> Transport {
        match &self.0 {
            Places::Local(slots) => {
                Transport::local(service, slots.get(service).map(|slot| slot.0.clone()).unwrap_or_default())
            }
            Places::Remote(channels) => match channels.get(service) {
                Some(channel) => Transport::remote(service, channel.clone()),
                // Only for a name outside SERVICES: answers UNAVAILABLE, as any service that has not started.
                None => Transport::local(service, Arc::default()),
            },
        }
    }
}
