//! SQL, and nothing else. Every function takes a connection, so that its caller decides what is one transaction.

pub mod accounts;
pub mod invitations;
pub mod jobs;
pub mod revocations;
pub mod sessions;
pub mod users;
