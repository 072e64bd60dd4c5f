//! Identity over a real PostgreSQL, called through its real methods with real tokens; billing and team are fakes.

mod fakes;
mod house;
mod invitations;
mod secrets;
mod sessions;
mod sign_up;
mod standing;
mod users;
