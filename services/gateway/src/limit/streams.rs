//! How many streams each user has open, and all together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::error::Error;

/// Counts open streams. Invariant: a user's number is that of his living [`OpenStream`]s, and `all` their sum; the lock makes look and
/// count one step.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    most: Most,
    open: Arc<Mutex<Open>>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Of one user.
    pub(crate) of_user: usize,
    /// Of everybody.
    pub(crate) in_all: usize,
}

#[derive(Debug, Default)]
struct Open {
    of: HashMap<Uuid, usize>,
    all: usize,
}

/// One stream; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct OpenStream {
    user: Uuid,
    open: Arc<Mutex<Open>>,
}

impl Streams {
    /// At most `most`.
    pub(crate) fn new(most: Most) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Room for one more of `user`.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`] while he has as many as he gets, [`Error::TooManyStreamsInAll`] while everybody together has.
    pub(crate) fn open(&self, user: Uuid) -> Result<OpenStream, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.of.get(&user).copied().unwrap_or_default();
        if count >= self.most.of_user {
            return Err(Error::TooManyStreams(self.most.of_user));
        }
        if open.all >= self.most.in_all {
            return Err(Error::TooManyStreamsInAll(self.most.in_all));
        }
        open.of.insert(user, count + 1);
        open.all += 1;
        Ok(OpenStream { user, open: self.open.clone() })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        match open.of.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.of.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_stream_makes_room_and_nothing_is_kept_of_who_has_none() {
        let (streams, user) = (Streams::new(Most { of_user: 2, in_all: 100 }), Uuid::from_u128(1));
        let (first, _second) = (streams.open(user).unwrap(), streams.open(user).unwrap());
        assert_eq!(streams.open(user).unwrap_err(), Error::TooManyStreams(2));
        drop(streams.open(Uuid::from_u128(2)).unwrap());
        drop(first);
        assert!(streams.open(user).is_ok());
        assert_eq!(streams.open.lock().unwrap().of.keys().collect::<Vec<_>>(), [&user]);
    }

    #[test]
    fn everybody_together_has_a_bound_and_gets_room_again() {
        let streams = Streams::new(Most { of_user: 2, in_all: 3 });
        let mut open: Vec<_> = [1, 1, 2].map(|user| streams.open(Uuid::from_u128(user)).unwrap()).into();
        assert_eq!(streams.open(Uuid::from_u128(3)).unwrap_err(), Error::TooManyStreamsInAll(3));
        open.pop();
        assert!(streams.open(Uuid::from_u128(3)).is_ok());
    }
}
