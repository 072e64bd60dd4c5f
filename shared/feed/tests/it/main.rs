//! The feed against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy knows only the test functions themselves")]

mod consumer;
mod crash;
mod lives;
mod one_account;
mod order;
mod support;
mod traces;
