//! Diwan as a client meets it: installations in both topologies, a client's way in, and the story that the demo tells.

pub mod door;
pub mod inbox;
pub mod installation;
pub mod mail;
pub mod ports;
pub mod report;
pub mod story;

/// Whatever went wrong in a story or a test.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
