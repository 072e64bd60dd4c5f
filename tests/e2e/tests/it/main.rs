//! The tests of the whole: real binaries, real PostgreSQL, real mail servers, in both topologies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access_cells;
mod access_table;
mod audit;
mod audit_verify;
mod crew;
mod dynamic;
mod endings;
mod every_method;
mod grpcurl;
mod halfway;
mod leaving;
mod lifecycle;
mod password_reset;
mod python;
mod role_change;
mod signing_keys;
mod support;
mod telemetry;
mod tls;
mod whole_path;
