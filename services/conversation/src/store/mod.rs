//! SQL, and nothing else.
//!
//! # Lock order
//! Every transaction takes its row locks in this order, so that no two wait for each other; what it does not need it leaves out:
//! 1. contact_groups, contacts, reassignments, topic_trees and then topics by id
//! 2. users, by id
//! 3. teams, by id: the lock of a team's routing. Deciders of one team take turns by it.
//!    Then routing_lists, and routing_rules, and then bots.
//! 4. slots, by (user_id, team_id)
//! 5. presence and live_sessions
//! 6. conversations, by id, then what belongs to them
//!
//! What touches several accounts, as the events of a feed do, takes all this of one account before it goes on to the next one,
//! by id ([`locks`]).
//!
//! What makes an agent eligible (membership, access, presence, open count) changes only under the lock of his slots: whoever
//! holds it and looks afterwards sees what is true until he commits. "Afterwards" is a statement of its own: a statement that
//! has waited for a lock still sees other tables as they were when it began.

pub mod archive;
pub mod arrivals;
pub mod automatic_replies;
pub mod board;
pub mod bot_turns;
pub mod bots;
pub mod checker;
pub mod claim;
pub mod contacts;
pub mod conversations;
pub mod decisions;
pub mod explanations;
pub mod feed;
pub mod groups;
pub mod handling;
pub mod history;
pub mod hours;
pub mod languages;
pub mod lists;
pub mod locks;
pub mod messages;
pub mod notes;
pub mod presence;
pub mod principals;
pub mod queue;
pub mod reassignments;
pub mod record;
pub mod replays;
pub mod rules;
pub mod scopes;
pub mod sends;
pub mod slots;
pub mod teams;
pub mod topics;
pub mod transitions;
pub mod unanswered;
pub mod users;

#[cfg(test)]
mod lock_tests;
#[cfg(test)]
mod turns_tests;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use crate::Error;

/// What runs within a transaction.
pub type Tx = PgConnection;

/// Ends the transaction as a serialization failure, after which it is run again from the start: what it read is stale.
pub async fn lost_race(tx: &mut Tx) -> Error {
    let raise = "do $$ begin raise exception 'what was read is stale' using errcode = 'serialization_failure'; end $$";
    match sqlx::query(raise).execute(tx).await {
        Err(error) => error.into(),
        Ok(_) => Error::Interrupted,
    }
}

/// The most bytes of texts in one answer, unless its only entry has more: so that it stays well below gRPC's usual 4 MiB.
const LARGEST: i64 = 1024 * 1024;

/// How many entries of a page fit into an answer, by what is said of each. Where not all do, one more than those is read.
fn fitting(fits: impl Iterator<Item = bool>) -> i64 {
    i64::try_from(fits.filter(|fits| *fits).count()).unwrap_or(i64::MAX)
}

fn jiff(time: Option<SqlTimestamp>) -> Option<Timestamp> {
    time.map(SqlTimestamp::to_jiff)
}
