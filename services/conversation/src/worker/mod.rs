//! Loops that run as long as the process.

pub mod alerts;
pub mod archiver;
pub mod bots;
pub mod feeds;
pub mod hub;
pub mod janitor;
pub mod presence;
pub mod reassigner;
pub mod router;
pub mod sender;
pub mod sessions;
pub mod shifts;
pub mod unanswered;
pub mod wakeups;
