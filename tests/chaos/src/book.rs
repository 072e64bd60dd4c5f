//! What the clients were told: each effect that somebody had an answer for. The audit compares it with what the database holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use diwan_proto::conversation::v1::{Conversation, ConversationState};
use uuid::Uuid;

/// A change of state, team or holder that its author was told of.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) conversation: Uuid,
    pub(crate) version: i64,
    /// As transitions name it.
    pub(crate) cause: &'static str,
    pub(crate) actor: Uuid,
    pub(crate) state: &'static str,
    pub(crate) team: Uuid,
    pub(crate) holder: Option<Uuid>,
}

/// Everything that was told.
#[derive(Default)]
pub(crate) struct Told {
    /// Messages that came in, and the conversation that took each.
    pub(crate) mails: HashMap<Uuid, Uuid>,
    /// Answers to customers: what was sent, in which conversation, by which person or bot.
    pub(crate) replies: HashMap<Uuid, (Uuid, Uuid)>,
    pub(crate) acts: Vec<Act>,
    /// Of each conversation the last priority that was set, with the version that it led to.
    pub(crate) priorities: HashMap<Uuid, (i64, i32)>,
    /// The same of topics.
    pub(crate) topics: HashMap<Uuid, (i64, Vec<Uuid>)>,
    /// Bulk reassignments that were begun.
    pub(crate) reassignments: Vec<String>,
    /// Of each conversation how often the owner's stream showed each version.
    pub(crate) shown: HashMap<Uuid, BTreeMap<i64, u32>>,
    /// Whether that stream had to begin anew, so that it may have gaps.
    pub(crate) stream_began_anew: bool,
    /// Answers of the bot that were taken though its claim was over.
    pub(crate) late_claims: usize,
    /// Requests that were refused after a try whose end nobody knows: what they asked for may still have happened.
    pub(crate) uncertain: usize,
}

/// The account that the clients keep.
#[derive(Default)]
pub(crate) struct Book(Mutex<Told>);

impl Book {
    /// Everything, to write in or to read.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody changed a conversation, and was shown it.
    pub(crate) fn acted(&self, cause: &'static str, actor: Uuid, after: &Conversation) {
        let (Ok(conversation), Ok(team)) = (after.id.parse(), after.team_id.parse()) else { return };
        // Of a closed one the protocol names the last holder, the database none.
        let holder = if after.state() == ConversationState::Closed { None } else { after.holder_id.parse().ok() };
        let state = name(after.state());
        let act = Act { conversation, version: after.version, cause, actor, state, team, holder };
        self.told().acts.push(act);
    }

    /// A label of a conversation was set.
    pub(crate) fn labelled(&self, after: &Conversation, topics: bool) {
        let Ok(id) = after.id.parse() else { return };
        let mut told = self.told();
        if topics {
            let set = after.topic_ids.iter().filter_map(|id| id.parse().ok()).collect();
            newer(told.topics.entry(id).or_default(), after.version, set);
        } else {
            newer(told.priorities.entry(id).or_default(), after.version, after.priority);
        }
    }
}

fn newer<T>(known: &mut (i64, T), version: i64, value: T) {
    if known.0 < version {
        *known = (version, value);
    }
}

/// As the database names it.
fn name(state: ConversationState) -> &'static str {
    state.as_str_name().trim_start_matches("CONVERSATION_STATE_")
}
