//! SQL, and nothing else. Every function takes a connection, so that its caller decides what is one transaction.

pub mod accounts;
pub mod audit;
pub mod challenges;
pub mod closings;
pub mod codes;
pub mod confirmations;
pub mod devices;
pub mod exports;
pub mod failures;
pub mod invitations;
pub mod jobs;
pub mod numbers;
pub mod offers;
pub mod operators;
pub mod passwords;
pub mod policies;
pub mod principal_credentials;
pub mod principals;
pub mod profiles;
pub mod recipients;
pub mod revocations;
pub mod second_factors;
pub mod sessions;
pub mod signing_keys;
pub mod users;
