//! When a conversation that its holder leaves unanswered is offered to others. Pure; see docs/decisions/no-answer.md.

use std::time::Duration;

use diwan_hours::Hours;
use diwan_runtime::clock::{after, between};
use jiff::Timestamp;

use super::state::Cause;

/// Who comes this long after his team has opened finds what he had left.
const LATE: Duration = Duration::from_mins(5);

/// No look reckons further ahead: a team may work for a minute a week, and want an answer within a week of work.
const SIGHT: Duration = Duration::from_hours(366 * 24);

/// What a team wants.
#[derive(Debug)]
pub struct Rules {
    /// After how much work without an answer; `None`: never.
    pub no_answer_after: Option<Duration>,
    /// Whether when the holder has gone OFFLINE.
    pub when_offline: bool,
    /// When the team works; `None`: always.
    pub hours: Option<Hours>,
}

/// A held conversation.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Since when its customer waits for an answer; `None`: he does not.
    pub unanswered_since: Option<Timestamp>,
    /// Since when its holder has it.
    pub assigned_at: Timestamp,
    /// Since when he is OFFLINE; `None`: he is not.
    pub offline_since: Option<Timestamp>,
    /// Whether somebody could get it now who has not been asked.
    pub others: bool,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, unless something changes.
    Stays,
    /// Nothing before this time.
    StaysUntil(Timestamp),
    /// It is offered to others.
    Goes(Cause),
}

/// Decides it. Outside the working hours nothing is taken away, and time there does not count.
pub fn verdict(held: Held, rules: &Rules, now: Timestamp) -> Verdict {
    let Some(since) = held.unanswered_since else { return Verdict::Stays };
    let offline = || offline(held, since, rules, now);
    match [offline(), no_answer(held, since, rules, now)] {
        [Verdict::Goes(cause), _] | [_, Verdict::Goes(cause)] => Verdict::Goes(cause),
        [Verdict::StaysUntil(one), Verdict::StaysUntil(other)] => Verdict::StaysUntil(one.min(other)),
        [until @ Verdict::StaysUntil(_), Verdict::Stays] | [Verdict::Stays, until] => until,
    }
}

/// He has gone since he got it. What was given to him while he was away stays: somebody meant it so.
fn offline(held: Held, since: Timestamp, rules: &Rules, now: Timestamp) -> Verdict {
    let gone = held.offline_since.filter(|gone| rules.when_offline && *gone >= held.assigned_at);
    let Some(begun) = gone.map(|gone| gone.max(since)) else { return Verdict::Stays };
    let late = |opening| after(opening, LATE);
    let due = if rules.is_open(begun) { Some(begun) } else { rules.next_opening(begun).map(late) };
    match due {
        Some(due) if due > now => Verdict::StaysUntil(due),
        Some(_) if rules.is_open(now) => Verdict::Goes(Cause::HolderOffline),
        Some(_) => rules.next_opening(now).map_or(Verdict::Stays, |opening| Verdict::StaysUntil(late(opening))),
        None => Verdict::Stays,
    }
}

/// He does not answer. Where nobody else could get it either, it stays with him, and this is looked at again after as long.
fn no_answer(held: Held, since: Timestamp, rules: &Rules, now: Timestamp) -> Verdict {
    let Some(work) = rules.no_answer_after else { return Verdict::Stays };
    match rules.after_work(since.max(held.assigned_at), work, now) {
        Some(due) if due > now => Verdict::StaysUntil(due),
        Some(_) if !rules.is_open(now) => rules.next_opening(now).map_or(Verdict::Stays, Verdict::StaysUntil),
        Some(_) if held.others => Verdict::Goes(Cause::NoAnswer),
        Some(_) => rules.after_work(now, work, now).map_or(Verdict::Stays, Verdict::StaysUntil),
        None => Verdict::Stays,
    }
}

impl Rules {
    fn is_open(&self, at: Timestamp) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.is_open(at))
    }

    fn next_opening(&self, at: Timestamp) -> Option<Timestamp> {
        self.hours.as_ref().map_or(Some(at), |hours| hours.next_opening(at))
    }

    /// When this much work has been done since `from`, or where that is not in sight from `now`, when to look again; `None`: never.
    fn after_work(&self, from: Timestamp, mut work: Duration, now: Timestamp) -> Option<Timestamp> {
        let Some(hours) = &self.hours else { return Some(after(from, work)) };
        let mut at = hours.next_opening(from)?;
        loop {
            if at > after(now, SIGHT) {
                return Some(at);
            }
            let Some(end) = hours.next_change(at) else { return Some(after(at, work)) };
            let shift = between(at, end);
            if work <= shift {
                return Some(after(at, work));
            }
            work -= shift;
            at = hours.next_opening(end)?;
        }
    }
}

#[cfg(test)]
#[path = "unanswered_tests.rs"]
mod tests;
