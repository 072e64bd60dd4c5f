//! The account's external bot: instances of it claim turns, talk, hand over and close, or die; their customers write on. What the customer
//! waits for is counted here once more, another way than the rules do.

use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, sample::Index};
use uuid::Uuid;

use super::{
    TEAMS, sticky, topics,
    ways::{Exit, topic_ids},
    world::{World, id},
};
use crate::domain::{
    state::{Cause, State},
    turns::{Claim, Turns, Waits},
};

/// Some steps: each takes a second.
const ANSWER: i32 = 8;
const PATIENCE: i32 = 15;
const WAITS: Waits = Waits { answer: Some(ANSWER), patience: PATIENCE };
/// Claims are taken for nothing else.
const FIRST_CLAIM: usize = 100_000;

/// A conversation with a bot.
#[derive(Clone, Debug)]
pub struct Talk {
    pub turns: Turns,
    /// Every one that there has been.
    claims: Vec<Known>,
    written: usize,
    answered: usize,
    /// Since when one of them waits for a word of the other.
    since: Timestamp,
}

/// A claim, as whoever got it remembers it.
#[derive(Clone, Debug)]
struct Known {
    id: Uuid,
    lease: SignedDuration,
    until: Timestamp,
    /// How much was written then.
    seen: usize,
}

impl Talk {
    /// What `store::bot_turns::begin` does.
    pub fn begin(now: Timestamp) -> Self {
        let turns = Turns { begun: 1, answered: 0, due: WAITS.answer(now), claim: None };
        Self { turns, claims: Vec::new(), written: 1, answered: 0, since: now }
    }

    /// How many claims are good for something.
    fn good(&self, now: Timestamp) -> usize {
        let good = self.claims.iter().filter(|known| self.turns.claimed_by(known.id, now).is_some());
        good.inspect(|known| assert!(known.until > now, "{known:?} is over: {self:?}")).count()
    }

    fn waits(&self) -> bool {
        self.written > self.answered
    }
}

/// What an instance of the bot does, by one of the claims that it or another one was given, or its customer.
#[derive(Clone, Debug)]
pub enum Turn {
    Claimed { lease: i32 },
    Said { claim: Index, more: bool },
    HandedOver { claim: Index, to: Option<usize>, topics: Vec<usize>, sticky: Option<usize> },
    Closed { claim: Index },
    Heard,
}

pub fn turn() -> impl Strategy<Value = Turn> {
    let claim = any::<Index>;
    prop_oneof![
        4 => (1..2 * ANSWER).prop_map(|lease| Turn::Claimed { lease }),
        3 => (claim(), any::<bool>()).prop_map(|(claim, more)| Turn::Said { claim, more }),
        2 => (claim(), prop::option::of(0..TEAMS), topics(), sticky())
            .prop_map(|(claim, to, topics, sticky)| Turn::HandedOver { claim, to, topics, sticky }),
        1 => claim().prop_map(|claim| Turn::Closed { claim }),
        2 => Just(Turn::Heard),
    ]
}

impl World {
    /// What `flow::bot_turns` does with a turn, and `flow::bot_talk::heard`.
    pub fn turn(&mut self, which: Index, turn: Turn) {
        let with_bot = |found: &usize| self.conversations[*found].talk.is_some();
        let with_bot: Vec<usize> = (0..self.conversations.len()).filter(with_bot).collect();
        if with_bot.is_empty() {
            return;
        }
        let conversation = *which.get(&with_bot);
        match turn {
            Turn::Claimed { lease } => self.bot_claims(conversation, lease),
            Turn::Heard => self.bot_hears(conversation),
            Turn::Said { claim, more } => self.bot_says(conversation, claim, more),
            Turn::HandedOver { claim, to, topics, sticky } if self.held(conversation, claim).is_some() => {
                self.leave_bot(conversation, to.map_or(Exit::Rules(topics), Exit::Team));
                if let Some(agent) = sticky {
                    self.give_back(conversation, agent);
                }
            }
            Turn::Closed { claim } => self.bot_closes(conversation, claim),
            Turn::HandedOver { .. } => {}
        }
    }

    fn held(&self, conversation: usize, claim: Index) -> Option<Claim> {
        let talk = self.conversations[conversation].talk.as_ref().filter(|talk| !talk.claims.is_empty())?;
        talk.turns.claimed_by(claim.get(&talk.claims).id, self.now)
    }

    fn bot_says(&mut self, conversation: usize, claim: Index, more: bool) {
        let (held, now) = (self.held(conversation, claim), self.now);
        let Some((talk, claim)) = self.conversations[conversation].talk.as_mut().zip(held) else { return };
        let known = talk.claims.iter_mut().find(|known| known.id == claim.id).unwrap();
        known.until = now + known.lease;
        talk.turns = talk.turns.said(claim, more, (WAITS, now));
        talk.since = now;
        if !more {
            talk.answered = known.seen;
            assert_eq!((talk.good(now), talk.turns.waiting()), (0, talk.waits()), "{talk:?} was answered");
        }
    }

    fn bot_claims(&mut self, conversation: usize, lease: i32) {
        let (now, claim) = (self.now, id(FIRST_CLAIM + self.step));
        let Some(talk) = &mut self.conversations[conversation].talk else { return };
        let good = talk.good(now);
        match talk.turns.claimed((claim, lease), now) {
            Some(turns) => {
                assert_eq!(good, 0, "{talk:?} is claimed by another instance");
                talk.turns = turns;
                let lease = SignedDuration::from_secs(lease.into());
                talk.claims.push(Known { id: claim, lease, until: now + lease, seen: talk.written });
            }
            None => {
                assert!(good > 0 || !talk.waits() || talk.turns.is_due(now), "{talk:?} waits, and nobody may claim it");
            }
        }
    }

    fn bot_hears(&mut self, conversation: usize) {
        let now = self.now;
        let Some(talk) = &mut self.conversations[conversation].talk else { return };
        if !talk.waits() {
            talk.since = now;
        }
        talk.written += 1;
        talk.turns = talk.turns.wrote(WAITS, now);
    }

    /// Whatever topic its team wants of people, but never over what it has not seen.
    fn bot_closes(&mut self, conversation: usize, claim: Index) {
        let Some(claim) = self.held(conversation, claim) else { return };
        let Some(talk) = &self.conversations[conversation].talk else { return };
        let unseen = talk.claims.iter().any(|known| known.id == claim.id && known.seen < talk.written);
        assert_eq!(talk.turns.has_seen_all(claim), !unseen, "{talk:?}");
        if talk.turns.has_seen_all(claim) {
            self.close(conversation);
        }
    }

    /// What `worker::bots` does. Whether something left its bot.
    pub fn time_out(&mut self) -> bool {
        let due = |talk: &Talk| talk.turns.is_due(self.now);
        let all = self.conversations.iter().enumerate();
        let due: Vec<usize> = all.filter(|(_, found)| found.talk.as_ref().is_some_and(due)).map(|(it, _)| it).collect();
        for conversation in &due {
            let talk = self.conversations[*conversation].talk.as_ref().unwrap();
            let cause = if talk.waits() || !self.bot { Cause::BotFailed } else { Cause::CustomerSilent };
            assert_eq!(talk.turns.ends(self.bot), cause, "{talk:?}");
            self.leave_bot(*conversation, Exit::Prospective);
        }
        !due.is_empty()
    }

    /// The account's bot starts conversations, or ends that and with it all that it has.
    pub fn enable_bot(&mut self, enabled: bool) {
        self.bot = enabled;
        for talk in self.conversations.iter_mut().filter_map(|found| found.talk.as_mut()).filter(|_| !enabled) {
            talk.turns.due = Some(self.now);
        }
    }

    /// What it has learned besides.
    pub fn learned(&self, conversation: usize, topics: &[usize]) -> Vec<Uuid> {
        self.in_use(self.conversations[conversation].enquiry.topics.iter().chain(&topic_ids(topics)))
    }
}

/// A bot and a person never have the same one; of several instances one has it; and whichever of them is dead, its team gets it in time.
pub fn bots_keep_nothing(world: &World) {
    for found in &world.conversations {
        assert_eq!(found.talk.is_some(), found.state == State::Bot, "{found:?}");
        let Some(talk) = &found.talk else { continue };
        assert_eq!(found.holder, None, "{found:?} is with a bot and a person");
        assert!(world.bot, "{found:?} is with a bot that is disabled");
        assert!(talk.good(world.now) <= 1, "two instances have {found:?}");
        assert!(
            talk.turns.claim.is_none_or(|claim| Some(claim.until) <= talk.turns.due),
            "{found:?} outlives its time"
        );
        let most = SignedDuration::from_secs(if talk.waits() { ANSWER } else { PATIENCE }.into());
        assert!(world.now.duration_since(talk.since) < most, "{found:?} is with a dead bot, or waits for nobody");
    }
}
