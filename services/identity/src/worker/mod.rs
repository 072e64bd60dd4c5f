//! Loops.

pub mod audit;
pub mod closing;
pub mod expiry;
pub mod exporter;
pub mod janitor;
pub mod jobs;
pub mod revocations;
pub mod signing_keys;

/// Rung when a worker has a job to do, or its time was moved.
pub const JOBS: &str = "jobs";
