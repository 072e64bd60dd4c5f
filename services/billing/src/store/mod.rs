//! SQL.
//!
//! A seat is held while its lease has not expired; `now` in every statement is the caller's clock, so that a test decides
//! what time it is.

pub(crate) mod seats;
pub(crate) mod subscriptions;
