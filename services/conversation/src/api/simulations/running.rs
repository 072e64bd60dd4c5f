//! Simulations that run in this process: each takes a core and some tens of megabytes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::Error;

/// How many run at a time.
const MOST: usize = 2;

/// The accounts that have one: no account has two, so none keeps all others waiting.
#[derive(Debug, Default)]
pub struct Running(Mutex<BTreeSet<Uuid>>);

impl Running {
    /// One that begins.
    ///
    /// # Errors
    /// [`Error::TooManySimulations`].
    pub fn begin(self: &Arc<Self>, account: Uuid) -> Result<Permit, Error> {
        let mut accounts = self.accounts();
        if accounts.len() >= MOST || !accounts.insert(account) {
            return Err(Error::TooManySimulations);
        }
        Ok(Permit { running: self.clone(), account })
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It runs until this is dropped.
#[derive(Debug)]
pub struct Permit {
    running: Arc<Running>,
    account: Uuid,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.running.accounts().remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_one_at_a_time_and_the_process_two() {
        let running = Arc::new(Running::default());
        let [one, other, third] = [1, 2, 3].map(Uuid::from_u128);
        let first = running.begin(one).unwrap();
        running.begin(one).unwrap_err();
        let second = running.begin(other).unwrap();
        running.begin(third).unwrap_err();
        drop(first);
        running.begin(other).unwrap_err();
        let _third = running.begin(third).unwrap();
        drop(second);
        running.begin(one).unwrap();
    }
}
