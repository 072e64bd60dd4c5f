//! Private clusters, with real servers: every installed version that Diwan supports takes part.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy knows only the test functions themselves")]

mod command;
mod crash;
mod detached;
mod lifecycle;
mod places;
mod support;
