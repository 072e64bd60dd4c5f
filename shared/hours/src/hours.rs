//! A schedule in a time zone.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::schedule::{Schedule, minute};

/// How far ahead a change is looked for: more than the longest run of holidays and a week.
const HORIZON: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);

/// The working hours of one team.
#[derive(Clone, Debug)]
pub struct Hours {
    schedule: Schedule,
    zone: TimeZone,
}

impl Hours {
    /// A schedule by the clock of an IANA time zone. Accounts have known zones only; one that the database of this machine lacks
    /// all the same, because it is older than another's, counts as UTC.
    pub fn new(schedule: Schedule, zone: &str) -> Self {
        let found = TimeZone::get(zone).ok().filter(|zone| !zone.is_unknown());
        let zone = found.unwrap_or_else(|| {
            tracing::error!(zone, "the time zone database of this machine has no such zone: UTC takes its place");
            TimeZone::UTC
        });
        Self { schedule, zone }
    }

    /// Whether a shift is under way.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.schedule.covers(self.zone.to_datetime(at))
    }

    /// The first moment after `after` at which [`Hours::is_open`] is not what it is at `after`; `None` when that is not so within
    /// two years.
    pub fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        let open = self.is_open(after);
        let last = after.checked_add(HORIZON).ok()?;
        let mut at = after;
        while at < last {
            at = self.next_step(at)?;
            if self.is_open(at) != open {
                return Some(at);
            }
        }
        None
    }

    /// When a shift is under way: `at` itself if it is one, else the beginning of the next; `None` when there is none within two
    /// years.
    pub fn next_opening(&self, at: Timestamp) -> Option<Timestamp> {
        if self.is_open(at) { Some(at) } else { self.next_change(at) }
    }

    /// The first moment after `at` at which anything may change. The clock runs evenly up to the next transition of its offset, so
    /// before it the next boundary is as far away as the wall says.
    fn next_step(&self, at: Timestamp) -> Option<Timestamp> {
        let wall = self.zone.to_datetime(at);
        let minutes = i64::from(self.schedule.boundary(wall) - minute(wall));
        let passed = SignedDuration::new(i64::from(wall.second()), wall.subsec_nanosecond());
        let boundary = at.checked_add(SignedDuration::from_mins(minutes) - passed).ok()?;
        let transition = self.zone.following(at).next().map(|transition| transition.timestamp());
        Some(transition.map_or(boundary, |transition| transition.min(boundary)))
    }
}

#[cfg(test)]
#[path = "hours_tests.rs"]
mod tests;
