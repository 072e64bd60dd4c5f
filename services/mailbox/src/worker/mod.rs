//! The loops that keep mailboxes in sync and send their mail.

mod alert;
pub(crate) mod closing;
pub(crate) mod fleet;
mod ingest;
mod owned;
mod report;
mod send;
mod sent_folder;
mod store_batch;
mod sync;
pub(crate) mod teams;
