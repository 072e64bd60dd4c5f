//! How many streams each user has open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

/// Counts open streams. Invariant: a user's number is that of his living [`OpenStream`]s; the lock makes look and count one step.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    most: usize,
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
}

/// One stream; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct OpenStream {
    user: Uuid,
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
}

impl Streams {
    /// At most `most` a user.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Room for one more of `user`; `None` while he has as many as he gets.
    pub(crate) fn open(&self, user: Uuid) -> Option<OpenStream> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&user).copied().unwrap_or_default();
        (count < self.most).then(|| {
            open.insert(user, count + 1);
            OpenStream { user, open: self.open.clone() }
        })
    }

    /// How many a user gets.
    pub(crate) fn most(&self) -> usize {
        self.most
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_stream_makes_room_and_nothing_is_kept_of_who_has_none() {
        let (streams, user) = (Streams::new(2), Uuid::from_u128(1));
        let (first, _second) = (streams.open(user).unwrap(), streams.open(user).unwrap());
        assert!(streams.open(user).is_none());
        drop(streams.open(Uuid::from_u128(2)).unwrap());
        drop(first);
        assert!(streams.open(user).is_some());
        assert_eq!(streams.open.lock().unwrap().keys().collect::<Vec<_>>(), [&user]);
    }
}
