//! The service against a real PostgreSQL, through its methods.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy knows only the test functions themselves")]

mod fakes;
mod hours;
mod mail;
mod overtaken;
mod path;
mod presence;
mod replicas;
mod routing;
mod schema;
mod sight;
mod support;
