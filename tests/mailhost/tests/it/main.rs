//! A real Dovecot and a real OpenSMTPD, started, used and ended. Needs root.

#![cfg(test)]

mod death;
mod delivery;
mod support;
