//! Token buckets, many of them in bounded memory.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate algorithm of ITU-T I.371): one
//! whose time has passed is the same as none, and is forgotten without anybody noticing.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher as _, Hash},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const SHARDS: usize = 16;
/// A shard that is full is not searched for forgettable buckets more often than that: whoever fills it must not slow it down.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// How many calls fit: written `50/200`, fifty a second, and two hundred at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// `per_second` calls a second, up to `burst` at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), burst: burst.max(1) }
    }
}

/// A rate that cannot be read.
#[derive(Debug)]
pub(crate) struct NoRate;

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let (rate, burst) = text.split_once('/').ok_or(NoRate)?;
        let (rate, burst): (u32, u32) = (rate.parse().map_err(|_| NoRate)?, burst.parse().map_err(|_| NoRate)?);
        if rate == 0 || burst == 0 { Err(NoRate) } else { Ok(Self::new(rate, burst)) }
    }
}

/// Buckets by key. Invariant: never more than the capacity and one common bucket a shard; a shard's lock makes look-up and
/// take one step, so that no call is let through twice on one token.
pub(crate) struct Buckets<K> {
    shards: [Mutex<Shard<K>>; SHARDS],
    hasher: RandomState,
    capacity: usize,
    epoch: Instant,
}

struct Shard<K> {
    full_at: HashMap<K, Duration>,
    /// What all share who came while the shard was full.
    strangers: Duration,
    swept: Duration,
}

impl<K: Hash + Eq> Buckets<K> {
    /// At most `capacity` buckets.
    pub(crate) fn new(capacity: usize) -> Self {
        let shard = || Mutex::new(Shard { full_at: HashMap::new(), strangers: Duration::ZERO, swept: Duration::ZERO });
        Self {
            shards: std::array::from_fn(|_| shard()),
            hasher: RandomState::new(),
            capacity: capacity.div_ceil(SHARDS),
            epoch: Instant::now(),
        }
    }

    /// Takes one token from the bucket of `key`.
    ///
    /// # Errors
    /// How long it is until there is one.
    pub(crate) fn take(&self, key: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.epoch);
        let hash = self.hasher.hash_one(&key);
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        let mut shard = self.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
        shard.bucket(key, self.capacity, now).take(rate, now)
    }
}

impl<K: Hash + Eq> Shard<K> {
    fn bucket(&mut self, key: K, capacity: usize, now: Duration) -> Bucket<'_> {
        if self.full_at.len() >= capacity && now.saturating_sub(self.swept) >= SWEEP_PAUSE {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.swept = now;
        }
        let room = self.full_at.len() < capacity;
        if room || self.full_at.contains_key(&key) {
            Bucket(self.full_at.entry(key).or_default())
        } else {
            Bucket(&mut self.strangers)
        }
    }
}

struct Bucket<'a>(&'a mut Duration);

impl Bucket<'_> {
    fn take(self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let full_at = (*self.0).max(now) + rate.interval;
        match full_at.saturating_sub(now).checked_sub(rate.interval * rate.burst) {
            None | Some(Duration::ZERO) => {
                *self.0 = full_at;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

impl<K> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_burst_fits_then_the_rate_and_the_refused_learn_when() {
        let (buckets, start) = (Buckets::new(100), Instant::now());
        let rate: Rate = "10/5".parse().unwrap();
        assert_eq!((0..9).filter(|_| buckets.take("a", rate, start).is_ok()).count(), 5);
        let wait = buckets.take("a", rate, start).unwrap_err();
        assert!(wait <= Duration::from_millis(100) && wait > Duration::from_millis(90), "{wait:?}");
        assert!(buckets.take("b", rate, start).is_ok(), "another's bucket is another's");
        assert!(buckets.take("a", rate, start + wait).is_ok());
        assert!(buckets.take("a", rate, start + wait).is_err());
        let later = start + Duration::from_mins(1);
        assert_eq!(
            (0..9).filter(|_| buckets.take("a", rate, later).is_ok()).count(),
            5,
            "no more than a burst is saved"
        );
    }

    #[test]
    fn a_million_addresses_take_bounded_memory_and_share_what_is_left() {
        let (buckets, start) = (Buckets::new(1600), Instant::now());
        let rate = Rate::new(1, 10);
        let let_in = (0..1_000_000_u32).filter(|address| buckets.take(*address, rate, start).is_ok()).count();
        let kept: usize = buckets.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum();
        assert_eq!(kept, 1600);
        assert_eq!(let_in, 1600 + SHARDS * 10, "strangers share one bucket a shard");
        assert!(buckets.take(0, rate, start).is_ok(), "who has a bucket keeps it");
        let later = start + Duration::from_mins(1);
        assert!(
            (0..1000).all(|address| buckets.take(2_000_000 + address, rate, later).is_ok()),
            "full ones are forgotten"
        );
    }

    #[test]
    fn threads_at_once_get_no_more_than_the_burst() {
        let (buckets, now) = (Arc::new(Buckets::new(100)), Instant::now());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let buckets = buckets.clone();
                std::thread::spawn(move || {
                    (0..1000).filter(|_| buckets.take(1, Rate::new(1, 300), now).is_ok()).count()
                })
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 300);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "5", "0/5", "5/0", "a/b", "-1/5"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
