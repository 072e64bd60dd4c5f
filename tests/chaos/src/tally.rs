//! What happened, counted: operations by kind and outcome, and why calls had to be repeated.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::operation::{DONE, KINDS};

/// Counts by kind and outcome.
pub type Counts = BTreeMap<&'static str, BTreeMap<String, u64>>;

#[derive(Default)]
pub(crate) struct Tally {
    operations: Mutex<Counts>,
    repeated: Mutex<BTreeMap<String, u64>>,
}

fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    /// An operation ended.
    pub(crate) fn ended(&self, kind: &'static str, outcome: &str) {
        *lock(&self.operations).entry(kind).or_default().entry(outcome.to_owned()).or_default() += 1;
    }

    /// A call had to be repeated.
    pub(crate) fn repeated(&self, why: String) {
        *lock(&self.repeated).entry(why).or_default() += 1;
    }

    /// Operations by kind and outcome.
    pub(crate) fn operations(&self) -> Counts {
        lock(&self.operations).clone()
    }

    /// What was tried at least so often and never succeeded.
    pub(crate) fn never_done(&self, tries: u64) -> Vec<String> {
        let operations = self.operations();
        let failing = KINDS.iter().filter(|(_, name, _)| {
            let outcomes = operations.get(name).cloned().unwrap_or_default();
            !outcomes.contains_key(DONE) && outcomes.values().sum::<u64>() >= tries
        });
        failing.map(|(_, name, _)| format!("never succeeded: {name}")).collect()
    }

    /// Repeated calls by their cause.
    pub(crate) fn repeats(&self) -> BTreeMap<String, u64> {
        lock(&self.repeated).clone()
    }
}
