//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt as _;

/// Doubles from a first delay up to a longest one, each with jitter so that many who failed together do not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first` and stays at `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The delay after one more failure: between half of the doubled delay and all of it.
    pub fn next_delay(&mut self) -> Duration {
        let delay = delay_after(self.failures, self.first, self.longest);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The delay after `failures` earlier failures, with jitter: between half of `first` doubled that often (at most `longest`) and all of it.
pub fn delay_after(failures: u32, first: Duration, longest: Duration) -> Duration {
    let full = first.saturating_mul(2_u32.saturating_pow(failures.min(30))).min(longest);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for full in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay();
            assert!(
                delay >= Duration::from_millis(full / 2) && delay <= Duration::from_millis(full),
                "{delay:?} {full}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
