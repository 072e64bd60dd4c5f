//! How many refused calls of operators a service writes down.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// At once, after a pause.
const BURST: u32 = 1000;
/// Then one after so long.
const INTERVAL: Duration = Duration::from_millis(200);

/// One bucket of tokens for all operators at a front, as one number: when it will be full again (the generic cell rate algorithm of ITU-T
/// I.371). What bounds the log: the gateway lets an address make so many calls (its limits come before), and this holds behind it and at
/// the service's own port, where no limit is: however many are refused, a process writes a thousand and five a second. Those who do what
/// they may take nothing from it.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Option<Instant>>);

impl Refusals {
    /// Takes one token.
    ///
    /// # Errors
    /// There is none; when there will be.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = full_at.map_or(now, |full_at| full_at.max(now)) + INTERVAL;
        let over = after.saturating_duration_since(now + INTERVAL * BURST);
        if over.is_zero() {
            *full_at = Some(after);
            Ok(())
        } else {
            Err(over)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_its_burst_and_what_comes_back_with_time() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let written = |at| (0..BURST * 3).filter(|_| refusals.take(at).is_ok()).count();
        assert_eq!(written(begun), 1000);
        assert_eq!(refusals.take(begun), Err(INTERVAL));
        assert_eq!(written(begun + Duration::from_mins(1)), 300);
        assert_eq!(written(begun + Duration::from_hours(24)), 1000, "a pause saves no more than one burst");
    }
}
