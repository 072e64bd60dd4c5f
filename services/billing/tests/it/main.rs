//! Billing against a real PostgreSQL, called through its real methods.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod account_data;
mod seats;
mod subscriptions;
mod support;
