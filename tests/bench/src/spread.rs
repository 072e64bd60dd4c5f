//! How measured times are spread.

use std::{
    fmt::{self, Display},
    time::Duration,
};

/// Measured times, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    /// Of these times.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that `percent` of all stay within; zero where nothing was measured.
    pub(crate) fn within(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.within(percent).as_secs_f64() * 1000.0;
        write!(f, "p50 {:.1} p99 {:.1} max {:.1} ms", millis(50), millis(99), millis(100))
    }
}
