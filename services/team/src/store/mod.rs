//! SQL.

pub(crate) mod accounts;
pub(crate) mod members;
pub(crate) mod memberships;
pub(crate) mod teams;
