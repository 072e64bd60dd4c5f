//! The session against a server that follows a script, politely or not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy knows only the test functions themselves"
)]

mod fetching;
mod folders;
mod idling;
mod misbehaviour;
mod scripted;
mod signing_in;
mod speed;
