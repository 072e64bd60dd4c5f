//! What can go wrong, at which step, and whether trying again makes sense.

use std::{fmt, io, time::Duration};

use crate::status::Answer;

/// Where in the life of a session an error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Finding the host and opening the TCP connection.
    Connect,
    /// STARTTLS and the TLS handshake.
    Tls,
    /// The server's first line, and asking what it can do.
    Greeting,
    /// Presenting the credentials.
    Login,
    /// A command of an established session, by its IMAP name.
    Command(&'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "TLS handshake",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Command(name) => name,
        })
    }
}

/// What went wrong. The server's own words are in [`Answer`], shortened and free of credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    /// The network failed.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// TLS failed; with an untrusted certificate only new settings help.
    #[error("TLS failed")]
    Tls(#[source] rustls::Error),
    /// The host has no address that [`Options::permits`](crate::Options) lets through.
    #[error("the host's address is not permitted")]
    NotPermitted,
    /// [`Security::Plain`](crate::Security) was asked for a host that is not this machine.
    #[error("an unencrypted connection is only made within this machine")]
    NotLoopback,
    /// The server said nothing for [`Limits::silence`](crate::Limits), or was not done within
    /// [`Limits::command`](crate::Limits).
    #[error("no answer in time")]
    Timeout,
    /// The server closed the connection without a BYE.
    #[error("the server closed the connection")]
    Eof,
    /// Tagged NO: understood, and refused. The session can go on.
    #[error("the server refused: {0}")]
    No(Answer),
    /// BAD: not understood. After a tagged one the session can go on.
    #[error("the server rejected the command: {0}")]
    Bad(Answer),
    /// The server took its leave (RFC 3501, 7.1.5).
    #[error("the server ended the session: {0}")]
    Bye(Answer),
    /// Something that IMAP does not allow here. What was received is not shown: it may be somebody's mail.
    #[error("not IMAP: {0}")]
    Garbage(&'static str),
    /// Tagged OK, but what the answer must contain did not come.
    #[error("the answer lacks {0}")]
    Incomplete(&'static str),
    /// An earlier answer was not read to its end.
    #[error("the session is unusable since {0}")]
    Poisoned(&'static str),
    /// The server does not offer what this needs.
    #[error("the server does not offer {0}")]
    Unsupported(&'static str),
    /// The command needs a selected folder.
    #[error("no folder is selected")]
    NotSelected,
    /// The selected folder was replaced while selected: its UIDs mean other messages now (RFC 3501, 2.3.1.1).
    #[error("the folder's UIDVALIDITY changed")]
    UidValidityChanged,
    /// The caller's argument cannot be written in IMAP.
    #[error("cannot be sent: {0}")]
    Argument(&'static str),
}

/// A failed step. `Display` names the step, the source says what happened.
#[derive(Debug, thiserror::Error)]
#[error("IMAP {step} failed")]
pub struct Error {
    /// Where it happened.
    pub step: Step,
    /// What happened.
    #[source]
    pub kind: Kind,
}

/// Whether the same request can succeed without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After a pause, on a new session when this one is poisoned.
    Later,
    /// Only after settings, credentials or the request have changed.
    AfterChange,
}

impl Error {
    pub(crate) fn at(step: Step) -> impl Fn(Kind) -> Self {
        move |kind| Self { step, kind }
    }

    /// Whether trying again makes sense. A login refused without a response code counts as refused credentials
    /// (RFC 3501, 6.2.3), unless the server's words speak of a limit.
    pub fn retry(&self) -> Retry {
        match &self.kind {
            Kind::Tls(rustls::Error::InvalidCertificate(_))
            | Kind::NotPermitted
            | Kind::NotLoopback
            | Kind::Unsupported(_)
            | Kind::NotSelected
            | Kind::Argument(_) => Retry::AfterChange,
            Kind::No(answer) if answer.is_lasting() => Retry::AfterChange,
            Kind::No(answer) if self.step == Step::Login && !answer.is_passing() => Retry::AfterChange,
            _ => Retry::Later,
        }
    }

    /// How long the server asks to be left alone, where it says so (Exchange's "Suggested Backoff Time").
    pub fn pause(&self) -> Option<Duration> {
        match &self.kind {
            Kind::No(answer) | Kind::Bad(answer) | Kind::Bye(answer) => answer.pause(),
            _ => None,
        }
    }
}

impl From<io::Error> for Kind {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Eof;
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls.clone()),
            None => Self::Io(error),
        }
    }
}
