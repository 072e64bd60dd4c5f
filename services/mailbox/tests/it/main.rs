//! Mailbox against a real PostgreSQL, a real Dovecot and a real OpenSMTPD, called through its real methods.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod account_data;
mod closing;
mod connecting;
mod credentials;
mod receiving;
mod replicas;
mod scripted;
mod sending;
mod support;
mod teams;
