//! Identity over a real PostgreSQL, called through its real methods with real tokens; billing and team are fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod credentials;
mod fakes;
mod house;
mod invitations;
mod mail;
mod open_invitations;
mod ownership;
mod roles;
mod secrets;
mod sessions;
mod settings;
mod sign_in;
mod sign_up;
mod standing;
mod throttle;
mod users;
