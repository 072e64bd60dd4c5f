//! Routing on the real service: how many assignments a second, how long a conversation waits for its agent, what it costs when nothing
//! happens, and how it grows.

mod arrival;
mod backlog;
mod checker;
mod growth;
mod idle;
mod latency;
mod pgbench;
mod quiet;
mod staff;

use diwan_e2e::Failure;

use crate::report::Report;

/// Assignments a second, and how long a conversation waits.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    backlog::measure(report).await?;
    latency::measure(report).await
}

/// What an installation costs in which nothing happens.
pub(crate) async fn idle(report: &mut Report) -> Result<(), Failure> {
    idle::measure(report).await
}

/// How the time of a decision grows.
pub(crate) async fn growth(report: &mut Report) -> Result<(), Failure> {
    growth::measure(report).await
}
