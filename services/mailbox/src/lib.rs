//! The mailbox service.
