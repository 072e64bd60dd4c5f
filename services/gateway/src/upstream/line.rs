//! When those are to come again who were turned away: each at a time of his own, one after the other as quickly as the service works.
//! All told the same, they would be the same rush once more.

use std::time::{Duration, Instant};

/// Until somebody has measured it: argon2id as identity runs it, on two cores.
const PACE: Duration = Duration::from_millis(25);
/// Between two that are worked off by a service that has something to do, no more time passes.
const SLOWEST: Duration = Duration::from_secs(1);
/// Nobody is told to wait for longer.
const LONGEST: Duration = Duration::from_secs(30);
/// How much of a new measurement counts.
const WEIGHT: f64 = 0.1;

/// The line of one method.
#[derive(Debug)]
pub(super) struct Line {
    /// The mean time between two that are worked off.
    pace: Duration,
    worked_off: Option<Instant>,
    /// When the last one was told to come.
    last: Option<Instant>,
}

impl Default for Line {
    fn default() -> Self {
        Self { pace: PACE, worked_off: None, last: None }
    }
}

impl Line {
    /// One was worked off; `busy`: and others waited meanwhile, so that the time since the one before says how quick the service is.
    pub(super) fn worked_off(&mut self, busy: bool, now: Instant) {
        let before = self.worked_off.replace(now);
        if let Some(gap) =
            before.map(|before| now.saturating_duration_since(before)).filter(|gap| busy && *gap < SLOWEST)
        {
            self.pace = self.pace.mul_f64(1.0 - WEIGHT) + gap.mul_f64(WEIGHT);
        }
    }

    /// How long the next one is to wait: at least `soon`, and until after the one before him. Where that is too long he comes at some
    /// time before.
    pub(super) fn wait(&mut self, soon: Duration, now: Instant) -> Duration {
        let soonest = now + soon;
        let turn = self.last.map_or(soonest, |last| soonest.max(last + self.pace));
        let wait = turn.saturating_duration_since(now);
        if wait > LONGEST {
            return LONGEST.mul_f64(rand::random_range(0.5..1.0));
        }
        self.last = Some(turn);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);
    const QUICK: Duration = Duration::from_millis(10);

    #[test]
    fn everybody_is_told_a_time_of_his_own_as_far_apart_as_the_service_is_quick() {
        let (mut line, begun) = (Line::default(), Instant::now());
        (0..200).for_each(|place| line.worked_off(true, begun + QUICK * place));
        let now = begun + QUICK * 200;
        let waits: Vec<_> = (0..500).map(|_| line.wait(SOON, now)).collect();
        assert_eq!(waits[0], SOON);
        for two in waits.windows(2) {
            let apart = two[1].saturating_sub(two[0]);
            assert!(apart.abs_diff(QUICK) < Duration::from_millis(1), "{apart:?}");
        }
        // Those have come, or gone elsewhere: the next rush begins anew.
        assert_eq!(line.wait(SOON, now + Duration::from_mins(1)), SOON);
    }

    #[test]
    fn nobody_is_told_to_wait_for_longer_than_half_a_minute_and_those_at_the_end_do_not_come_together() {
        let (mut line, now) = (Line::default(), Instant::now());
        let mut waits: Vec<_> = (0..10_000).map(|_| line.wait(SOON, now)).collect();
        assert!(waits.iter().all(|wait| (SOON..=LONGEST).contains(wait)));
        waits.sort();
        // 10,000 within 30 s are 3 ms apart.
        assert!(waits.windows(2).all(|two| two[1].saturating_sub(two[0]) < Duration::from_millis(200)));
    }

    #[test]
    fn quiet_times_do_not_count_as_a_slow_service() {
        let (mut line, begun) = (Line::default(), Instant::now());
        (0..100).for_each(|second| line.worked_off(false, begun + Duration::from_millis(900) * second));
        let (first, second) = (line.wait(SOON, begun), line.wait(SOON, begun));
        assert_eq!(second.saturating_sub(first), PACE);
    }
}
