//! How many streams each user has open, each account, and all together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::error::Error;

/// Counts open streams. Invariant: the number of a user, and of an account, is that of its living [`OpenStream`]s, and `all` their sum; the
/// lock makes look and count one step.
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
    /// Of one account, whoever its users and principals are.
    pub(crate) of_account: usize,
    /// Of everybody.
    pub(crate) in_all: usize,
}

#[derive(Debug, Default)]
struct Open {
    of_user: Counts,
    of_account: Counts,
    all: usize,
}

/// Holds nobody who has none.
#[derive(Debug, Default)]
struct Counts(HashMap<Uuid, usize>);

impl Counts {
    fn of(&self, id: Uuid) -> usize {
        self.0.get(&id).copied().unwrap_or_default()
    }

    fn raise(&mut self, id: Uuid) {
        *self.0.entry(id).or_default() += 1;
    }

    fn lower(&mut self, id: Uuid) {
        match self.0.get_mut(&id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.0.remove(&id),
        }
    }
}

/// One stream; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct OpenStream {
    user: Uuid,
    account: Uuid,
    open: Arc<Mutex<Open>>,
}

impl Streams {
    /// At most `most`.
    pub(crate) fn new(most: Most) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Room for one more of `user` in `account`.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`] while he has as many as he gets, [`Error::TooManyStreamsOfAccount`] while his account has,
    /// [`Error::TooManyStreamsInAll`] while everybody together has.
    pub(crate) fn open(&self, account: Uuid, user: Uuid) -> Result<OpenStream, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.of_user.of(user) >= self.most.of_user {
            return Err(Error::TooManyStreams(self.most.of_user));
        }
        if open.of_account.of(account) >= self.most.of_account {
            return Err(Error::TooManyStreamsOfAccount(self.most.of_account));
        }
        if open.all >= self.most.in_all {
            return Err(Error::TooManyStreamsInAll(self.most.in_all));
        }
        open.of_user.raise(user);
        open.of_account.raise(account);
        open.all += 1;
        Ok(OpenStream { user, account, open: self.open.clone() })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        open.of_user.lower(self.user);
        open.of_account.lower(self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: Uuid = Uuid::from_u128(100);

    fn streams(of_user: usize, of_account: usize, in_all: usize) -> Streams {
        Streams::new(Most { of_user, of_account, in_all })
    }

    #[test]
    fn a_closed_stream_makes_room_and_nothing_is_kept_of_who_has_none() {
        let (streams, user) = (streams(2, 100, 100), Uuid::from_u128(1));
        let (first, _second) = (streams.open(ACCOUNT, user).unwrap(), streams.open(ACCOUNT, user).unwrap());
        assert_eq!(streams.open(ACCOUNT, user).unwrap_err(), Error::TooManyStreams(2));
        drop(streams.open(Uuid::from_u128(101), Uuid::from_u128(2)).unwrap());
        drop(first);
        assert!(streams.open(ACCOUNT, user).is_ok());
        let open = streams.open.lock().unwrap();
        assert_eq!((open.of_user.0.len(), open.of_account.0.len()), (1, 1));
    }

    #[test]
    fn an_account_has_a_bound_however_many_its_users_are_and_others_have_theirs() {
        let streams = streams(2, 3, 100);
        let open = |account: u128, user: u128| streams.open(Uuid::from_u128(account), Uuid::from_u128(user));
        let mut opened: Vec<_> = [1, 2, 3].map(|user| open(7, user).unwrap()).into();
        assert_eq!(open(7, 4).unwrap_err(), Error::TooManyStreamsOfAccount(3));
        assert!(open(8, 4).is_ok());
        opened.pop();
        assert!(open(7, 4).is_ok());
    }

    #[test]
    fn everybody_together_has_a_bound_and_gets_room_again() {
        let streams = streams(2, 100, 3);
        let mut open: Vec<_> = [1, 1, 2].map(|user| streams.open(ACCOUNT, Uuid::from_u128(user)).unwrap()).into();
        assert_eq!(streams.open(ACCOUNT, Uuid::from_u128(3)).unwrap_err(), Error::TooManyStreamsInAll(3));
        open.pop();
        assert!(streams.open(ACCOUNT, Uuid::from_u128(3)).is_ok());
    }
}
