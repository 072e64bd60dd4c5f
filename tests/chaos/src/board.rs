//! What is known of the conversations, from answers and from the owner's stream: enough to choose sensible operations. It may lag
//! behind; nothing is proved by it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use diwan_proto::conversation::v1::{Conversation, ConversationState};
use rand::{RngExt as _, rngs::StdRng};
use uuid::Uuid;

/// One is found by looking at so many, of a team by looking at more.
const LOOKS: usize = 48;
const LOOKS_IN_TEAM: usize = 60;

/// One conversation, as it was seen last.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) state: ConversationState,
    pub(crate) holder: Option<Uuid>,
    /// The team, once it was seen.
    pub(crate) team: String,
    /// The customer's address.
    pub(crate) email: String,
    /// The Message-ID of his first message.
    pub(crate) thread: String,
    /// The mailbox's team, by its place.
    pub(crate) mailbox: usize,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Board(Mutex<All>);

#[derive(Default)]
struct All {
    known: Vec<Known>,
    places: HashMap<Uuid, usize>,
}

impl Board {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A conversation began.
    pub(crate) fn begun(&self, new: Known) {
        let mut all = self.all();
        if !all.places.contains_key(&new.id) {
            let place = all.known.len();
            all.places.insert(new.id, place);
            all.known.push(new);
        }
    }

    /// Somebody was shown a conversation.
    pub(crate) fn seen(&self, shown: &Conversation) {
        let mut all = self.all();
        let Some(place) = shown.id.parse().ok().and_then(|id: Uuid| all.places.get(&id).copied()) else { return };
        let known = &mut all.known[place];
        if known.version < shown.version {
            known.version = shown.version;
            known.state = shown.state();
            known.holder = shown.holder_id.parse().ok();
            known.team.clone_from(&shown.team_id);
        }
    }

    /// A random one in one of these states, the newer ones more often than the old; `None`: none was found quickly.
    pub(crate) fn some(&self, random: &mut StdRng, states: &[ConversationState]) -> Option<Known> {
        self.find(random, LOOKS, |known| states.contains(&known.state))
    }

    /// The same, of one team.
    pub(crate) fn of_team(&self, random: &mut StdRng, states: &[ConversationState], team: &str) -> Option<Known> {
        self.find(random, LOOKS_IN_TEAM, |known| states.contains(&known.state) && known.team == team)
    }

    fn find(&self, random: &mut StdRng, looks: usize, fits: impl Fn(&Known) -> bool) -> Option<Known> {
        let all = self.all();
        let count = all.known.len();
        (0..looks).find_map(|_| {
            let back = count.min(2000);
            let from = if random.random_bool(0.9) { count - back } else { 0 };
            let known = (from < count).then(|| &all.known[random.random_range(from..count)])?;
            fits(known).then(|| known.clone())
        })
    }
}
