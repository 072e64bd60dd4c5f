//! Waiting for a condition, with a limit.

use std::{future::Future, panic::Location, time::Duration};

use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_millis(10);

/// What a condition says when it is looked at: a `bool`, or an `Option` whose value the test goes on with.
pub trait Outcome {
    /// What the test goes on with.
    type Value;
    /// The value, once the condition holds.
    fn value(self) -> Option<Self::Value>;
}

impl Outcome for bool {
    type Value = ();
    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn value(self) -> Option<T> {
        self
    }
}

/// Looks at `condition` again and again until it holds, and fails the test after `limit`, saying what it waited for.
#[track_caller]
pub fn eventually<O: Outcome>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> O,
) -> impl Future<Output = O::Value> {
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        loop {
            if let Some(value) = condition().await.value() {
                return value;
            }
            assert!(start.elapsed() < limit, "{caller}: waited {limit:?} in vain for this: {what}");
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_to_hold_gives_its_value() {
        let mut looks = 0;
        let value = eventually("the third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some("third")
        });
        assert_eq!(value.await, "third");
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for this: pigs fly")]
    async fn a_condition_that_never_holds_fails_with_its_name() {
        eventually("pigs fly", Duration::from_millis(30), async || false).await;
    }
}
