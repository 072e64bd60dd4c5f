//! TLS at the front and between services (docs/decisions/tls.md), with certificates that are read again when they change.
//!
//! A switch is a folder with files named as Kubernetes names them in a Secret: `tls.crt` (the certificate with its chain) and
//! `tls.key`; between services also `ca.crt`, the authorities of this installation, to which both sides' certificates have to
//! lead. A service's certificate bears the name `<service>.diwan.internal`, wherever the service is.

mod connect;
mod files;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use diwan_runtime::{Clock, Drain, worker::chain};
use rustls::{
    ClientConfig, ServerConfig,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::SERVICES;
pub(crate) use connect::Secured;
use files::Files;

/// How often the files are looked at; SIGHUP looks at once.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0} cannot be read")]
    File(PathBuf, #[source] io::Error),
    /// A file holds something else than it should. What it is stays untold: it may be a key.
    #[error("{0} is not what it should be: certificates, or one private key, as PEM")]
    Content(PathBuf),
    /// Certificate and key do not belong together, or are of a kind that is not spoken.
    #[error("the certificate in {0} cannot be used")]
    Unusable(PathBuf, #[source] rustls::Error),
    /// The authorities cannot vouch for anybody.
    #[error("the authorities in {0} cannot be used")]
    Authorities(PathBuf, #[source] rustls::server::VerifierBuilderError),
}

/// What is spoken where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// With clients: TLS 1.2 or 1.3; nobody is asked for a certificate.
    Front,
    /// Between services: TLS 1.3, and both sides show certificates.
    Between,
}

/// What the files made at one time.
struct Configs {
    server: Arc<ServerConfig>,
    /// Between services.
    client: Option<Arc<ClientConfig>>,
}

/// The certificates of one process as they are now. Clones share them.
#[derive(Clone)]
pub struct Tls {
    folder: Arc<PathBuf>,
    /// Invariant: always one whole reading of the folder; it is replaced under the lock and never changed.
    current: Arc<RwLock<Arc<Configs>>>,
}

/// The names of services that a peer's certificate bears. Only [`crate::serve`] puts it into a request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Certified(Arc<[&'static str]>);

impl Certified {
    /// Whether the peer may speak as `service`.
    pub(crate) fn bears(&self, service: &str) -> bool {
        self.0.contains(&service)
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        let parsed = ParsedCertificate::try_from(certificate).ok();
        let bears = |service: &&str| {
            let name = name_of(service);
            parsed.as_ref().zip(name).is_some_and(|(parsed, name)| verify_server_name(parsed, &name).is_ok())
        };
        Self(SERVICES.into_iter().chain(["gateway"]).filter(bears).collect())
    }
}

/// The name that a service's certificate bears.
pub(crate) fn name_of(service: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(format!("{service}.diwan.internal")).ok()
}

impl Tls {
    /// For clients, with the certificate in `folder`, whose files are followed until `drain` begins.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn front(folder: PathBuf, clock: &Arc<dyn Clock>, drain: &Drain) -> Result<Self, TlsError> {
        Self::open(folder, Side::Front, clock, drain).await
    }

    /// Between services, with the certificate and the authorities in `folder`, which are followed until `drain` begins.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub async fn between(folder: PathBuf, clock: &Arc<dyn Clock>, drain: &Drain) -> Result<Self, TlsError> {
        Self::open(folder, Side::Between, clock, drain).await
    }

    async fn open(folder: PathBuf, side: Side, clock: &Arc<dyn Clock>, drain: &Drain) -> Result<Self, TlsError> {
        let files = Files::read(&folder, side).await?;
        let current = Arc::new(RwLock::new(Arc::new(files.configs(&folder, side, clock)?)));
        let tls = Self { folder: Arc::new(folder), current };
        let follow = tls.clone().follow(files.fingerprint(), side, clock.clone(), drain.clone());
        drain.spawn(follow);
        Ok(tls)
    }

    fn now(&self) -> Arc<Configs> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.now().client.clone()
    }

    /// Shakes hands as the server; who the peer is, where both sides show certificates.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<Certified>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self.now();
        let stream = TlsAcceptor::from(configs.server.clone()).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let certified = chain.and_then(<[_]>::first).map(Certified::of);
        Ok((stream, certified))
    }

    /// Takes new files when they are whole and good; others leave everything as it is.
    async fn follow(self, mut seen: u64, side: Side, clock: Arc<dyn Clock>, drain: Drain) {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be waited for; certificates are polled"))
            .ok();
        let mut refused = String::new();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            let woken = async {
                tokio::select! {
                    () = clock.sleep(LOOK_AGAIN) => {}
                    () = asked => {}
                }
            };
            if drain.unless_begun(woken).await.is_none() {
                return;
            }
            match self.look(&mut seen, side, &clock).await {
                Ok(()) => refused.clear(),
                // Once for each trouble, not every two seconds.
                Err(error) if chain(&error) == refused => {}
                Err(error) => {
                    refused = chain(&error);
                    tracing::error!(error = refused, "new certificates cannot be used; the old ones stay");
                }
            }
        }
    }

    /// One look. Only what was taken counts as seen, so that a pair that was half written is tried again.
    async fn look(&self, seen: &mut u64, side: Side, clock: &Arc<dyn Clock>) -> Result<(), TlsError> {
        let files = Files::read(&self.folder, side).await?;
        if files.fingerprint() == *seen {
            return Ok(());
        }
        let configs = Arc::new(files.configs(&self.folder, side, clock)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = configs;
        *seen = files.fingerprint();
        tracing::info!(folder = %self.folder.display(), "new certificates are used from now on");
        Ok(())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("folder", &self.folder).finish_non_exhaustive()
    }
}
