//! Team against a real PostgreSQL, called through its real methods.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod account_data;
mod answers;
mod archive;
mod belonging;
mod departments;
mod fallback;
mod hours;
mod joining;
mod leads;
mod locks;
mod memberships;
mod support;
mod teams;
