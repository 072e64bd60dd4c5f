//! What a client and a service see of one another, in one process and over TCP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod callers;
mod channels;
mod context;
mod crowds;
mod deadlines;
mod draining;
mod failures;
mod jwks;
mod support;
mod tls;
