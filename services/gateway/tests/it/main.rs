//! The gateway in front of services that do as a test tells them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bootstrap;
mod connections;
mod events;
mod failures;
mod limits;
mod load;
mod messages;
mod neighbours;
mod rush;
mod smuggling;
mod support;
mod traces;
mod web;
