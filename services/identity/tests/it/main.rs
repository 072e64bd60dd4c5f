//! Identity over a real PostgreSQL, called through its real methods with real tokens; billing and team are fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fakes;
mod house;
mod invitations;
mod mail;
mod secrets;
mod sessions;
mod sign_up;
mod standing;
mod users;
