//! Routing on the real service: how many assignments a second, and how long a conversation waits for its agent.

mod arrival;
mod backlog;
mod latency;
mod pgbench;
mod staff;

use diwan_e2e::Failure;

use crate::report::Report;

/// Measures both.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    backlog::measure(report).await?;
    latency::measure(report).await
}
