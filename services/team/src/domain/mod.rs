//! Teams and memberships, without a database or a protocol.

mod membership;
mod team;

pub(crate) use membership::Membership;
pub(crate) use team::{Changes, Settings, Team, Visibility, fallback_name, name_key};
