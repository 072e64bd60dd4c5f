//! Loops that run as long as the process.

pub mod feeds;
pub mod hub;
pub mod presence;
pub mod router;
pub mod sender;
pub mod sessions;
pub mod shifts;
pub mod wakeups;
