//! What happens in one transaction: each function here is one, from the first lock to the last row.

pub mod assign;
pub mod close;
pub mod deliver;
pub mod ingest;
pub mod members;
pub mod presence;
pub mod reply;
pub mod take;

use uuid::Uuid;

/// A team whose queue or agents changed, for the routing to look at after the commit.
pub type Team = (Uuid, Uuid);
