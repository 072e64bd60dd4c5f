//! Loops.

pub mod janitor;
pub mod jobs;
pub mod revocations;

/// Rung when a job's time was moved outside a transaction of [`diwan_store::Database`].
pub const JOBS: &str = "jobs";
