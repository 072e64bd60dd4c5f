//! Where the time comes from: the system, or a clock that a test moves by hand.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::watch;

/// A clock that everything below is given as a value, so that a test decides what time it is.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present time. Microseconds, because that is what PostgreSQL keeps: a time read back equals the one written.
    fn now(&self) -> Timestamp;

    /// Completes when the clock has reached `deadline`.
    fn sleep_until(&self, deadline: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl dyn Clock {
    /// Completes when `duration` has passed by this clock.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(after(self.now(), duration)).await;
    }
}

/// `from` plus `duration`, at most the end of time.
pub fn after(from: Timestamp, duration: Duration) -> Timestamp {
    from.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long it is from `from` to `to`; zero when `to` is the earlier one.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The clock of the machine, ready to be handed around.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        micros(Timestamp::now())
    }

    fn sleep_until(&self, deadline: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(between(self.now(), deadline)))
    }
}

/// A clock that stands still until a test moves it.
#[derive(Clone, Debug)]
pub struct MockClock {
    now: Arc<Mutex<Timestamp>>,
    moved: watch::Sender<()>,
}

impl MockClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(micros(start))), moved: watch::Sender::new(()) }
    }

    /// Moves the clock forward and wakes who slept until then.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = after(*now, duration);
        drop(now);
        self.moved.send_replace(());
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep_until(&self, deadline: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut moved = self.moved.subscribe();
            while self.now() < deadline {
                // An error means that the sender is gone, and `self` holds it.
                if moved.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_mock_clock_reaches_its_time_and_not_before() {
        let clock = MockClock::at(Timestamp::UNIX_EPOCH);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { (&clock as &dyn Clock).sleep(Duration::from_mins(1)).await }
        });
        while clock.moved.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        tokio::time::timeout(Duration::from_secs(5), sleeper).await.unwrap().unwrap();
    }
}
