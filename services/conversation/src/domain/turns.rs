//! Whose turn it is between a customer and a bot: who may answer, for how long, and when the prospective team has to help. Pure; what is
//! read under the lock of a turn goes through here before it is written. See docs/decisions/bots.md.

use std::time::Duration;

use diwan_runtime::clock::after;
use jiff::Timestamp;
use uuid::Uuid;

use super::state::Cause;

/// For how long the two wait for each other, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// The customer for an external bot; `None`: a menu answers at once.
    pub answer: Option<i32>,
    /// The bot for the customer; 0: for ever.
    pub patience: i32,
}

impl Waits {
    /// When the customer has waited for long enough who begins to wait now.
    pub fn answer(self, now: Timestamp) -> Option<Timestamp> {
        self.answer.map(|seconds| later(now, seconds))
    }

    /// When the bot has.
    pub fn patience(self, now: Timestamp) -> Option<Timestamp> {
        (self.patience > 0).then(|| later(now, self.patience))
    }
}

/// The turns of one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Messages of the customer that want an answer.
    pub begun: i32,
    /// How many of them have one.
    pub answered: i32,
    /// When the prospective team's queue gets the conversation; `None`: never.
    pub due: Option<Timestamp>,
    /// Who answers.
    pub claim: Option<Claim>,
}

/// A right to answer one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What has to be shown.
    pub id: Uuid,
    /// How many messages had been written when it was claimed.
    pub turn: i32,
    /// It is good before this time. Never after the turn's own end: a dead bot holds nothing for longer than a customer may wait.
    pub until: Timestamp,
    /// For how long it was taken, in seconds.
    pub lease: i32,
}

impl Turns {
    /// Whether the customer waits.
    pub fn waiting(&self) -> bool {
        self.answered < self.begun
    }

    /// Whether the prospective team's queue gets it by then.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether it is the bot's failure that its time is over, or the customer's silence.
    pub fn ends(&self, enabled: bool) -> Cause {
        if self.waiting() || !enabled { Cause::BotFailed } else { Cause::CustomerSilent }
    }

    /// The customer has written. Who waits already is due as before.
    #[must_use]
    pub fn wrote(self, waits: Waits, now: Timestamp) -> Self {
        let due = if self.waiting() { self.due } else { waits.answer(now) };
        Self { begun: self.begun + 1, due, ..self }
    }

    /// Somebody claims it. `None`: nobody waits, somebody else has it, or its time is over.
    #[must_use]
    pub fn claimed(self, (id, lease): (Uuid, i32), now: Timestamp) -> Option<Self> {
        let free = self.waiting() && self.claim.is_none_or(|claim| claim.until <= now);
        let due = self.due.filter(|due| free && *due > now)?;
        let claim = Claim { id, turn: self.begun, until: later(now, lease).min(due), lease };
        Some(Self { claim: Some(claim), ..self })
    }

    /// What this claim is good for; `None`: nothing.
    pub fn claimed_by(&self, id: Uuid, now: Timestamp) -> Option<Claim> {
        self.claim.filter(|claim| claim.id == id && claim.until > now && !self.is_due(now))
    }

    /// Whether nothing was written that whoever claimed it has not seen.
    pub fn has_seen_all(&self, claim: Claim) -> bool {
        claim.turn == self.begun
    }

    /// The bot has said something. With `more` to come its claim goes on: who talks is not dead. Who has written meanwhile waits from now on.
    #[must_use]
    pub fn said(self, claim: Claim, more: bool, (waits, now): (Waits, Timestamp)) -> Self {
        if more {
            let due = waits.answer(now);
            let until = later(now, claim.lease).min(due.unwrap_or(Timestamp::MAX));
            return Self { due, claim: Some(Claim { until, ..claim }), ..self };
        }
        let due = if self.has_seen_all(claim) { waits.patience(now) } else { waits.answer(now) };
        Self { answered: claim.turn, due, claim: None, ..self }
    }
}

fn later(now: Timestamp, seconds: i32) -> Timestamp {
    after(now, Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
