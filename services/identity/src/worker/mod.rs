//! Loops.

pub mod expiry;
pub mod janitor;
pub mod jobs;
pub mod revocations;

/// Rung when a worker has a job to do, or its time was moved.
pub const JOBS: &str = "jobs";
