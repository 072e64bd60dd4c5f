//! One side of a mailbox's connection, and its password.

use std::fmt;

use zeroize::Zeroizing;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS, required.
    StartTls,
    /// None; within this machine only.
    Plain,
}

impl Security {
    /// As it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::StartTls => "STARTTLS",
            Self::Plain => "PLAIN",
        }
    }

    /// Of a stored name. The table's check admits no other; if it ever did, TLS is the safe one.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "STARTTLS" => Self::StartTls,
            "PLAIN" => Self::Plain,
            _ => Self::Tls,
        }
    }
}

/// A password: wiped from memory when dropped, never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Password(Zeroizing<String>);

impl Password {
    pub(crate) fn new(password: impl Into<String>) -> Self {
        Self(Zeroizing::new(password.into()))
    }

    /// For the one who presents or encrypts it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Which side of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Reading.
    Imap,
    /// Sending.
    Smtp,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Smtp => "smtp",
        }
    }
}

/// Where and how to reach one side of a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// DNS name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    /// Empty: no authentication (SMTP only).
    pub(crate) user: String,
    pub(crate) password: Password,
}
