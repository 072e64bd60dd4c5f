//! How many calls may be repeated: a share of all, so that repeating never doubles the load of a service in trouble.

use std::sync::atomic::{AtomicU32, Ordering};

/// What one call puts in, in thousandths of a repetition: one in ten may be repeated.
const SHARE: u32 = 100;
const REPETITION: u32 = 1000;
/// After quiet times no more than so many in a row.
const MOST: u32 = 20 * REPETITION;

/// The budget of one service. Invariant: repetitions never exceed the start plus a tenth of the calls; each change is one atomic step.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU32);

impl Budget {
    /// A full one.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(MOST))
    }

    /// One more call.
    pub(crate) fn earn(&self) {
        let _ = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |have| Some((have + SHARE).min(MOST)));
    }

    /// Whether one may be repeated.
    pub(crate) fn spend(&self) -> bool {
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |have| have.checked_sub(REPETITION)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_is_repeated_once_the_savings_are_spent() {
        let budget = Budget::new();
        while budget.spend() {}
        let repeated = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(repeated.count(), 100);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 20);
    }
}
