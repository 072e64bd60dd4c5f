//! What the audit log needs of every service, so that no handler has to think of it.
//!
//! - [`origin`]: who called, what and from where. The front of a service puts it around each request; every event that is
//!   written meanwhile carries it.
//! - [`ledger`]: whether a transaction has told of what it changed. One that answers a request and has not is told for.
//! - [`shown`]: messages as the log shows them, without secrets and texts.
//! - [`Record`]: a change that has no event of its own, or something that concerns security.
//! - [`OperatorLog`]: where the front writes down every call of an operator.

pub mod ledger;
pub mod operator;
pub mod origin;
mod record;
pub mod shown;
#[cfg(test)]
mod told;

pub use operator::{OperatorLog, Refused};
pub use origin::ORIGIN_HEADER;
pub use record::Record;
