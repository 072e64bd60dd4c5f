//! One SMTP dialogue, taken step by step, so that after every failure it is known whether the mail can have left.
//!
//! lettre speaks the protocol; its own timeout covers connecting only, so every step here has one of its own.

use std::{error::Error as StdError, io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lettre::{
    Address,
    address::AddressError,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Noop, Rcpt},
        extension::ClientId,
    },
};
use tokio::time::timeout;

use crate::{
    domain::server::{Security, Server},
    reach::Reach,
};

/// For the TCP connection, TLS and the greeting.
const CONNECT: Duration = Duration::from_secs(15);
/// For the answer to a command (RFC 5321, 4.5.3.2 allows minutes; who is that slow is tried again later).
const COMMAND: Duration = Duration::from_mins(1);
/// How much of a server's words is kept.
const WORDS: usize = 200;

/// Where in the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Finding the host and opening the connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The server's greeting, and EHLO.
    Greeting,
    /// Presenting the credentials.
    Login,
    /// NOOP, which shows that the session works.
    Noop,
    /// MAIL, RCPT and DATA.
    Envelope,
    /// The mail itself, up to the answer for it.
    Message,
}

impl Step {
    /// For programs and people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Noop => "noop",
            Self::Envelope => "envelope",
            Self::Message => "message",
        }
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    /// The host cannot be found or connected to.
    #[error("the server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// An address that SMTP cannot carry.
    #[error("an address cannot be used")]
    Address(#[source] AddressError),
    /// The server refused for good (5xx).
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server refused for now (4xx).
    #[error("the server refused for now: {0}")]
    Later(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or TLS failed, or it was no SMTP.
    #[error("the connection failed: {0}")]
    Broken(String),
}

/// A failed step.
#[derive(Debug, thiserror::Error)]
#[error("SMTP {} failed", step.name())]
pub(crate) struct Error {
    pub(crate) step: Step,
    #[source]
    pub(crate) kind: Kind,
}

impl Error {
    /// Whether the server may have taken the mail: it had all of it, or part of it, and did not say no.
    pub(crate) fn may_have_left(&self) -> bool {
        self.step == Step::Message && !matches!(self.kind, Kind::Refused(_) | Kind::Later(_))
    }

    /// Whether this very mail was refused for good, rather than the connection or the login.
    pub(crate) fn is_final(&self) -> bool {
        match self.kind {
            Kind::Address(_) => true,
            Kind::Refused(_) => matches!(self.step, Step::Envelope | Step::Message),
            _ => false,
        }
    }
}

/// A session that is signed in.
pub(crate) struct Session(AsyncSmtpConnection);

/// Connects, protects the connection, and signs in where there is a user.
pub(crate) async fn connect(server: &Server, reach: Reach) -> Result<Session, Error> {
    let hello = ClientId::default();
    let mut connection = open(server, reach, &hello).await?;
    if server.security == Security::StartTls {
        let secure = connection.starttls(parameters(server)?, &hello);
        within(COMMAND, Step::Tls, secure).await?;
    }
    if !server.user.is_empty() {
        let credentials = Credentials::new(server.user.clone(), server.password.expose().to_owned());
        let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
        within(COMMAND, Step::Login, login).await.map_err(|error| scrub(error, server))?;
    }
    Ok(Session(connection))
}

/// Tries the permitted addresses of the host in turn.
async fn open(server: &Server, reach: Reach, hello: &ClientId) -> Result<AsyncSmtpConnection, Error> {
    let unreachable = |error| Error { step: Step::Connect, kind: Kind::Unreachable(error) };
    let found = reach.resolve(&server.host, server.port, CONNECT).await.map_err(unreachable)?;
    let mut failure = unreachable(io::ErrorKind::NotFound.into());
    for address in found {
        if server.security == Security::Plain && !address.ip().to_canonical().is_loopback() {
            let words = "an unencrypted connection is only made within this machine";
            failure = unreachable(io::Error::new(io::ErrorKind::PermissionDenied, words));
            continue;
        }
        let tls = if server.security == Security::Tls { Some(parameters(server)?) } else { None };
        let connecting = AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT), hello, tls, None);
        match timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => failure = Error { step: opening_step(&error, server.security), kind: kind(&error) },
            Err(_) => failure = Error { step: Step::Connect, kind: Kind::Timeout },
        }
    }
    Err(failure)
}

/// lettre does three steps in one. What fails in the handshake comes out of rustls as one of two kinds of I/O error.
fn opening_step(error: &SmtpError, security: Security) -> Step {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match io {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) if security == Security::Tls => Step::Tls,
        _ if error.is_tls() => Step::Tls,
        _ if error.is_response() || error.status().is_some() => Step::Greeting,
        _ => Step::Connect,
    }
}

/// The error and what caused it, the outermost first.
fn causes(error: &SmtpError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source())
}

fn parameters(server: &Server) -> Result<TlsParameters, Error> {
    TlsParameters::new_rustls(server.host.clone()).map_err(|error| Error { step: Step::Tls, kind: kind(&error) })
}

impl Session {
    /// NOOP.
    pub(crate) async fn noop(&mut self) -> Result<(), Error> {
        within(COMMAND, Step::Noop, self.0.command(Noop)).await.map(drop)
    }

    /// Hands over one mail. An answer to the mail itself is awaited for `answer`.
    pub(crate) async fn send(&mut self, from: &str, to: &str, raw: &[u8], answer: Duration) -> Result<(), Error> {
        let address = |text: &str| {
            text.parse::<Address>().map_err(|error| Error { step: Step::Envelope, kind: Kind::Address(error) })
        };
        let (from, to) = (address(from)?, address(to)?);
        within(COMMAND, Step::Envelope, self.0.command(Mail::new(Some(from), Vec::new()))).await?;
        within(COMMAND, Step::Envelope, self.0.command(Rcpt::new(to, Vec::new()))).await?;
        within(COMMAND, Step::Envelope, self.0.command(Data)).await?;
        within(answer, Step::Message, self.0.message(raw)).await.map(drop)
    }

    /// QUIT. Whether the server hears it changes nothing.
    pub(crate) async fn quit(mut self) {
        let _ = timeout(Duration::from_secs(5), self.0.quit()).await;
    }
}

async fn within<T>(limit: Duration, step: Step, work: impl Future<Output = Result<T, SmtpError>>) -> Result<T, Error> {
    let done = timeout(limit, work).await.map_err(|_| Error { step, kind: Kind::Timeout })?;
    done.map_err(|error| Error { step, kind: kind(&error) })
}

fn kind(error: &SmtpError) -> Kind {
    // lettre repeats each cause in the text of what it caused; the innermost says it once.
    let words = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect();
    match error.status() {
        None => Kind::Broken(words),
        Some(code) if error.is_permanent() => Kind::Refused(format!("{code} {words}")),
        Some(code) => Kind::Later(format!("{code} {words}")),
    }
}

/// A server that echoes the command in its refusal must not carry a password into a log.
fn scrub(error: Error, server: &Server) -> Error {
    let password = server.password.expose();
    let plain = format!("\0{}\0{password}", server.user);
    let beginning = |secret: &str, chars: usize| secret.chars().take(chars).collect::<String>();
    let forms = [
        beginning(password, 4),
        beginning(&BASE64_STANDARD.encode(password), 6),
        beginning(&BASE64_STANDARD.encode(plain), 12),
    ];
    let scrubbed = |words: String| {
        let told = forms.iter().any(|form| !form.is_empty() && words.contains(form.as_str()));
        if told { "(withheld: repeats the credentials)".to_owned() } else { words }
    };
    let kind = match error.kind {
        Kind::Refused(words) => Kind::Refused(scrubbed(words)),
        Kind::Later(words) => Kind::Later(scrubbed(words)),
        kind => kind,
    };
    Error { step: error.step, kind }
}
