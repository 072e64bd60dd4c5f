//! SQL, and nothing else. Every function takes a connection, so that its caller decides what is one transaction.

pub mod accounts;
pub mod confirmations;
pub mod failures;
pub mod invitations;
pub mod jobs;
pub mod offers;
pub mod passwords;
pub mod revocations;
pub mod sessions;
pub mod users;
