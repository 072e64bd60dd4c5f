//! What happens in one transaction, with the events that tell the other services.

pub(crate) mod archive;
pub(crate) mod departments;
mod hours;
mod memberships;
mod teams;

pub(crate) use hours::{move_zone, set_hours};
pub(crate) use memberships::{add, join, remove, set_lead};
pub(crate) use teams::{create, ensure_fallback, update};
