//! When failures are too many: ten in ten minutes, then delays that grow, and in the end a reset.

use std::{cmp::max, num::NonZero, time::Duration};

use diwan_runtime::clock::{after, between};
use jiff::Timestamp;

/// Failures within it count together, and after it without one they are forgotten.
const WINDOW: Duration = Duration::from_mins(10);
/// What the failure that reaches the limit costs; each further one costs twice the one before.
const FIRST_DELAY: Duration = Duration::from_secs(30);
const LONGEST_DELAY: Duration = Duration::from_mins(15);

/// How many failures are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// So many in a window bring delays.
    pub limit: NonZero<u32>,
    /// So many without a success between need a reset, whatever the time between them.
    pub reset_after: Option<i32>,
}

/// What is remembered of somebody's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// How many there were since `window_began`.
    pub recent: i32,
    /// When the first of these was.
    pub window_began: Timestamp,
    /// How many there were since the last success.
    pub in_a_row: i32,
    /// Tries before it are refused unseen.
    pub closed_until: Timestamp,
}

/// Whether one more try is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Open,
    /// Not before so long.
    Closed(Duration),
    /// Not before a reset.
    NeedsReset,
}

impl Failures {
    /// Of somebody who has not failed.
    pub fn none(now: Timestamp) -> Self {
        Self { recent: 0, window_began: now, in_a_row: 0, closed_until: now }
    }

    /// Whether one more try is looked at now.
    pub fn verdict(&self, policy: Policy, now: Timestamp) -> Verdict {
        if policy.reset_after.is_some_and(|limit| self.in_a_row >= limit) {
            Verdict::NeedsReset
        } else if now < self.closed_until {
            Verdict::Closed(between(now, self.closed_until))
        } else {
            Verdict::Open
        }
    }

    /// With one more, now.
    #[must_use]
    pub fn with_another(&self, policy: Policy, now: Timestamp) -> Self {
        let calm = now >= after(max(self.window_began, self.closed_until), WINDOW);
        let (before, window_began) = if calm || self.recent == 0 { (0, now) } else { (self.recent, self.window_began) };
        let recent = before.saturating_add(1);
        let beyond = u32::try_from(recent).unwrap_or_default().checked_sub(policy.limit.get());
        let closed_until = beyond.map_or(self.closed_until, |beyond| after(now, delay(beyond)));
        Self { recent, window_began, in_a_row: self.in_a_row.saturating_add(1), closed_until }
    }
}

fn delay(beyond: u32) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(beyond)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { limit: NonZero::new(10).unwrap(), reset_after: Some(100) };

    fn later(seconds: u64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn failed(times: usize, mut failures: Failures, now: Timestamp) -> Failures {
        for _ in 0..times {
            failures = failures.with_another(POLICY, now);
        }
        failures
    }

    #[test]
    fn the_tenth_failure_closes_and_each_further_one_for_twice_as_long() {
        let nine = failed(9, Failures::none(later(0)), later(0));
        assert_eq!(nine.verdict(POLICY, later(0)), Verdict::Open);
        let mut failures = nine.with_another(POLICY, later(0));
        let mut now = later(0);
        for seconds in [30, 60, 120, 240, 480, 900, 900] {
            assert_eq!(failures.verdict(POLICY, now), Verdict::Closed(Duration::from_secs(seconds)));
            now = failures.closed_until;
            assert_eq!(failures.verdict(POLICY, now), Verdict::Open);
            failures = failures.with_another(POLICY, now);
        }
    }

    #[test]
    fn a_limit_for_a_whole_carrier_is_counted_to_its_end() {
        let many = Policy { limit: NonZero::new(100_000).unwrap(), reset_after: None };
        let before = Failures { recent: 99_998, ..Failures::none(later(0)) };
        let last = before.with_another(many, later(0));
        assert_eq!(last.verdict(many, later(0)), Verdict::Open);
        assert_ne!(last.with_another(many, later(0)).verdict(many, later(0)), Verdict::Open);
    }

    #[test]
    fn ten_minutes_after_the_first_of_few_failures_the_count_begins_again() {
        let nine = failed(9, Failures::none(later(0)), later(0));
        assert_ne!(nine.with_another(POLICY, later(599)).verdict(POLICY, later(599)), Verdict::Open);
        let fresh = nine.with_another(POLICY, later(600));
        assert_eq!((fresh.recent, fresh.in_a_row, fresh.window_began), (1, 10, later(600)));
    }

    #[test]
    fn delays_begin_again_only_after_ten_quiet_minutes_from_the_end_of_the_last() {
        let ten = failed(10, Failures::none(later(0)), later(0));
        assert_eq!(ten.with_another(POLICY, later(629)).recent, 11);
        assert_eq!(ten.with_another(POLICY, later(630)).recent, 1);
    }

    #[test]
    fn a_hundred_failures_in_a_row_need_a_reset_however_slowly_they_come() {
        let mut failures = Failures::none(later(0));
        for hour in 0..100 {
            assert_eq!(failures.verdict(POLICY, later(hour * 3600)), Verdict::Open);
            failures = failures.with_another(POLICY, later(hour * 3600));
        }
        assert_eq!(failures.verdict(POLICY, later(1_000_000_000)), Verdict::NeedsReset);
        let without = Policy { reset_after: None, ..POLICY };
        assert_eq!(failures.verdict(without, later(1_000_000_000)), Verdict::Open);
    }
}
