//! The service against a real PostgreSQL, through its methods.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy knows only the test functions themselves")]

mod fakes;
mod path;
mod replicas;
mod support;
