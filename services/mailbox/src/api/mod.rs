//! The RPCs.

mod connect;
pub(crate) mod encode;
mod mailboxes;
mod sending;

use std::sync::Arc;

pub(crate) use encode::timestamp;

use crate::shared::Shared;

/// Answers for all RPCs.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Arc<Shared>);
