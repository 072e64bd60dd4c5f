//! SQL.

pub(crate) mod accounts;
pub(crate) mod archive;
pub(crate) mod departments;
pub(crate) mod members;
pub(crate) mod memberships;
pub(crate) mod teams;
pub(crate) mod user_states;
