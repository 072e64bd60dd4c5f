//! The files of a folder, and what they make.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use diwan_runtime::{Clock, clock::between};
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use zeroize::Zeroizing;

use super::{Configs, Side, TlsError};

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The contents of the files, as they were read.
pub(super) struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authorities: Vec<u8>,
}

/// The time for certificates' validity.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let since: Duration = between(Timestamp::UNIX_EPOCH, self.0.now());
        Some(UnixTime::since_unix_epoch(since))
    }
}

impl Files {
    /// Reads them.
    pub(super) async fn read(folder: &Path, side: Side) -> Result<Self, TlsError> {
        let authorities = if side == Side::Between { read(folder.join("ca.crt")).await? } else { Vec::new() };
        let key = Zeroizing::new(read(folder.join("tls.key")).await?);
        Ok(Self { certificate: read(folder.join("tls.crt")).await?, key, authorities })
    }

    /// Tells one content from another, within this process.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, self.key.as_slice(), &self.authorities).hash(&mut hasher);
        hasher.finish()
    }

    /// What they make.
    pub(super) fn configs(&self, folder: &Path, side: Side, clock: &Arc<dyn Clock>) -> Result<Configs, TlsError> {
        let own = Own {
            folder,
            chain: certificates(&self.certificate, folder.join("tls.crt"))?,
            key: PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::Content(folder.join("tls.key")))?,
            // One provider is linked, and it need not be installed for the process.
            provider: Arc::new(aws_lc_rs::default_provider()),
            time: Arc::new(Time(clock.clone())),
        };
        match side {
            Side::Front => Ok(Configs { server: Arc::new(own.front()?), client: None }),
            Side::Between => {
                let authorities = Arc::new(authorities(&self.authorities, &folder.join("ca.crt"))?);
                let client = Some(Arc::new(own.client(authorities.clone())?));
                Ok(Configs { server: Arc::new(own.between(authorities)?), client })
            }
        }
    }
}

/// The certificate of this process.
struct Own<'a> {
    folder: &'a Path,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
}

impl Own<'_> {
    fn front(&self) -> Result<ServerConfig, TlsError> {
        let config = ServerConfig::builder_with_details(self.provider.clone(), self.time.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(self.chain.clone(), self.key.clone_key())
            });
        let mut config = config.map_err(|error| self.unusable(error))?;
        // HTTP/1.1 for browsers and for who fetches the keys; where it is not spoken, the server says so itself.
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        Ok(config)
    }

    fn between(&self, authorities: Arc<RootCertStore>) -> Result<ServerConfig, TlsError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(authorities, self.provider.clone())
            .build()
            .map_err(|error| TlsError::Authorities(self.folder.join("ca.crt"), error))?;
        let config = ServerConfig::builder_with_details(self.provider.clone(), self.time.clone())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(self.chain.clone(), self.key.clone_key())
            });
        let mut config = config.map_err(|error| self.unusable(error))?;
        config.alpn_protocols = vec![H2.to_vec()];
        // A resumed session would not look at the peer's certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn client(&self, authorities: Arc<RootCertStore>) -> Result<ClientConfig, TlsError> {
        let config = ClientConfig::builder_with_details(self.provider.clone(), self.time.clone())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| {
                builder
                    .with_root_certificates(authorities)
                    .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            });
        let mut config = config.map_err(|error| self.unusable(error))?;
        config.alpn_protocols = vec![H2.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn unusable(&self, error: rustls::Error) -> TlsError {
        TlsError::Unusable(self.folder.to_owned(), error)
    }
}

async fn read(path: PathBuf) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(&path).await.map_err(|error| TlsError::File(path, error))
}

fn certificates(pem: &[u8], path: PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    all.ok().filter(|all| !all.is_empty()).ok_or(TlsError::Content(path))
}

fn authorities(pem: &[u8], path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, path.to_owned())? {
        store.add(certificate).map_err(|_| TlsError::Content(path.to_owned()))?;
    }
    Ok(store)
}
