//! The store against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy knows only the test functions themselves")]

mod answers;
mod migrations;
mod pages;
mod pools;
mod support;
mod transactions;
mod wake;
