//! SQL, and only here. Every statement on tenant data names one account.

pub(crate) mod alerts;
pub(crate) mod closed;
pub(crate) mod leases;
pub(crate) mod mailboxes;
pub(crate) mod messages;
pub(crate) mod outgoing;
pub(crate) mod teams;
