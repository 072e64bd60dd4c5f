//! What happens in one transaction: each function here is one, from the first lock to the last row.

pub mod archive;
pub mod assign;
pub mod authority;
pub mod automatic_reply;
pub mod bot_talk;
pub mod bot_turns;
pub mod bots;
pub mod close;
pub mod deliver;
pub mod direct;
pub mod give_back;
pub mod groups;
pub mod hand_over;
pub mod ingest;
pub mod label;
pub mod long_waits;
pub mod members;
pub mod notes;
pub mod presence;
pub mod reassign;
pub mod reply;
pub mod route;
pub mod rules;
pub mod snooze;
pub mod take;
pub mod topics;
pub mod unanswered;

#[cfg(test)]
mod fairness_tests;
#[cfg(test)]
mod overtaken_tests;

use uuid::Uuid;

/// A team whose queue or agents changed, for the routing to look at after the commit.
pub type Team = (Uuid, Uuid);
