//! What waits and who has what in the simulated course.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    routing::{Place, Waiting},
    state::Priority,
};

/// Somebody got an episode.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Who.
    pub user: Uuid,
    /// When.
    pub at: Timestamp,
    /// Whether he took it, or was given it, by hand.
    pub by_hand: bool,
}

/// What has become of one episode.
#[derive(Clone, Debug, Default)]
struct Stay {
    entered: bool,
    waiting: Option<Waiting>,
    held: bool,
    holdings: u32,
    got: Option<Hold>,
}

/// The simulated course.
#[derive(Clone, Debug)]
pub struct Course {
    stays: Vec<Stay>,
    queue: BTreeMap<Place, usize>,
    current: HashMap<Uuid, usize>,
    /// Who had a conversation, the last of them last.
    holders: HashMap<Uuid, Vec<Uuid>>,
}

impl Course {
    /// Of so many episodes.
    pub fn new(episodes: usize) -> Self {
        let stays = vec![Stay::default(); episodes];
        Self { stays, queue: BTreeMap::new(), current: HashMap::new(), holders: HashMap::new() }
    }

    /// The episode of a conversation that came last.
    pub fn current(&self, conversation: Uuid) -> Option<usize> {
        self.current.get(&conversation).copied()
    }

    /// The episode of a conversation, if it waits.
    pub fn waiting(&self, conversation: Uuid) -> Option<usize> {
        self.current(conversation).filter(|index| self.stays[*index].waiting.is_some())
    }

    /// Whether it has come.
    pub fn has_entered(&self, index: usize) -> bool {
        self.stays[index].entered
    }

    /// Whether it waits.
    pub fn waits(&self, index: usize) -> bool {
        self.stays[index].waiting.is_some()
    }

    /// Who got it.
    pub fn got(&self, index: usize) -> Option<Hold> {
        self.stays[index].got
    }

    /// Who had a conversation last.
    pub fn last_holder(&self, conversation: Uuid) -> Option<Uuid> {
        self.holders.get(&conversation).and_then(|holders| holders.last().copied())
    }

    /// Who had a conversation, the last of them last.
    pub fn asked(&self, conversation: Uuid) -> Vec<Uuid> {
        self.holders.get(&conversation).cloned().unwrap_or_default()
    }

    /// It comes to the queue, once.
    pub fn enter(&mut self, index: usize, waiting: Waiting) {
        let stay = &mut self.stays[index];
        if stay.entered {
            return;
        }
        stay.entered = true;
        self.current.insert(waiting.conversation, index);
        self.queue.insert(waiting.place(), index);
        stay.waiting = Some(waiting);
    }

    /// It leaves the queue. Since when it had waited; `None`: it did not.
    pub fn leave(&mut self, index: usize) -> Option<Timestamp> {
        let waiting = self.stays[index].waiting.take()?;
        self.queue.remove(&waiting.place());
        Some(waiting.queued_at)
    }

    /// Somebody has it. The number of this holding.
    pub fn hold(&mut self, (index, conversation): (usize, Uuid), hold: Hold) -> u32 {
        let holders = self.holders.entry(conversation).or_default();
        holders.retain(|holder| *holder != hold.user);
        holders.push(hold.user);
        let stay = &mut self.stays[index];
        (stay.held, stay.got) = (true, Some(hold));
        stay.holdings += 1;
        stay.holdings
    }

    /// Whoever has it lets it go: in this holding, if one is named. Returns him.
    pub fn let_go(&mut self, index: usize, holding: Option<u32>) -> Option<Uuid> {
        let stay = &mut self.stays[index];
        if !stay.held || holding.is_some_and(|holding| holding != stay.holdings) {
            return None;
        }
        stay.held = false;
        stay.got.map(|hold| hold.user)
    }

    /// Its priority changes, if it waits.
    pub fn prioritize(&mut self, conversation: Uuid, priority: Priority) {
        let Some(index) = self.waiting(conversation) else { return };
        if let Some(waiting) = &mut self.stays[index].waiting {
            self.queue.remove(&waiting.place());
            waiting.priority = priority;
            self.queue.insert(waiting.place(), index);
        }
    }

    /// From now on no priority counts.
    pub fn forget_priorities(&mut self) {
        let waiting: Vec<Uuid> = self
            .queue
            .values()
            .filter_map(|index| self.stays[*index].waiting.as_ref())
            .map(|w| w.conversation)
            .collect();
        for conversation in waiting {
            self.prioritize(conversation, Priority::default());
        }
    }

    /// The first of the queue.
    pub fn head(&self, most: usize) -> Vec<Waiting> {
        self.queue.values().take(most).filter_map(|index| self.stays[*index].waiting.clone()).collect()
    }
}
