//! Teams and memberships, without a database or a protocol.

mod automatic_reply;
mod department;
mod membership;
mod team;

pub(crate) use automatic_reply::AutomaticReply;
pub(crate) use department::{DEEPEST, Department, DepartmentChanges, Place};
pub(crate) use membership::Membership;
pub(crate) use team::{Changes, Settings, Team, Visibility, fallback_name, name_key};
