//! Where to connect, as whom, and within which limits.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use zeroize::Zeroizing;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (port 993; RFC 8314, section 3.2).
    Tls,
    /// Plain until STARTTLS, which is then compulsory (port 143).
    StartTls,
    /// No protection: refused for any address but loopback, since it would send the password in the clear.
    Plain,
}

/// A server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name or an IP address. The certificate must be issued to it.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
}

/// A password or token: wiped from memory when dropped, never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whom to sign in as.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// AUTHENTICATE PLAIN where offered, else LOGIN.
    Password {
        /// The name to sign in with.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// XOAUTH2, else OAUTHBEARER (RFC 7628).
    OAuth2 {
        /// The mailbox's address.
        user: String,
        /// An access token.
        token: Secret,
    },
}

/// Which certificates are trusted. Cheap to clone; share one among sessions.
#[derive(Clone)]
pub struct Trust(pub(crate) Arc<ClientConfig>);

impl Trust {
    /// The public authorities that Mozilla trusts.
    pub fn public() -> Self {
        static PUBLIC: OnceLock<Trust> = OnceLock::new();
        PUBLIC.get_or_init(|| Self::new(public_roots())).clone()
    }

    /// The public authorities and these, e.g. a company's own.
    ///
    /// # Errors
    /// A certificate that is not X.509 DER.
    pub fn with<'a>(extra: impl IntoIterator<Item = CertificateDer<'a>>) -> Result<Self, rustls::Error> {
        let mut roots = public_roots();
        for certificate in extra {
            roots.add(certificate)?;
        }
        Ok(Self::new(roots))
    }

    #[expect(clippy::expect_used, reason = "fails only for a provider without cipher suites for TLS 1.2 and 1.3")]
    fn new(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs supports TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }
}

fn public_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(..)")
    }
}

/// What a server may take and send, so that none can hang or exhaust its client.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the TCP connection, over all addresses of the host.
    pub connect: Duration,
    /// Longest silence while an answer is awaited, and longest stall while sending.
    pub silence: Duration,
    /// For one command from its first byte to its tagged answer; waiting in IDLE does not count.
    pub command: Duration,
    /// Largest message fetched, in bytes; a larger one is reported by its UID.
    pub max_message: usize,
    /// Longest response without its literals, in bytes. A search answers in one line: 16 MiB hold 1.5 million UIDs.
    pub max_line: usize,
    /// How many bytes of messages one fetch asks for; a single message may exceed it.
    pub batch_bytes: usize,
    /// How many messages one fetch asks for.
    pub batch_messages: usize,
    /// How many unsolicited events are kept; one more is an error, for none may be lost.
    pub max_unsolicited: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            silence: Duration::from_mins(1),
            command: Duration::from_mins(15),
            max_message: 50 << 20,
            max_line: 16 << 20,
            batch_bytes: 8 << 20,
            batch_messages: 100,
            max_unsolicited: 100_000,
        }
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the server may take and send.
    pub limits: Limits,
    /// Use COMPRESS=DEFLATE where offered.
    pub compress: bool,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// Which addresses may be connected to. It is asked about the very addresses that are then used, so that a
    /// tenant's host name cannot lead into the inner network by resolving differently a second time.
    pub permits: fn(IpAddr) -> bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), compress: true, trust: Trust::public(), permits: |_| true }
    }
}
