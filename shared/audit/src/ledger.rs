//! Whether the present transaction has written an event, and what work it is.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

tokio::task_local! {
    static PRESENT: Ledger;
}

/// One run of one transaction.
#[derive(Clone, Debug)]
struct Ledger {
    work: Arc<str>,
    told: Arc<AtomicBool>,
}

/// Runs one try of the transaction `work`.
pub fn within<F: Future>(work: &str, run: F) -> impl Future<Output = F::Output> {
    PRESENT.scope(Ledger { work: work.into(), told: Arc::default() }, run)
}

/// An event is written in the present transaction.
pub fn tell() {
    let _ = PRESENT.try_with(|ledger| ledger.told.store(true, Ordering::Relaxed));
}

/// Whether one was.
pub fn has_told() -> bool {
    PRESENT.try_with(|ledger| ledger.told.load(Ordering::Relaxed)).unwrap_or_default()
}

/// The name of the present transaction; empty outside of one.
pub fn work() -> String {
    PRESENT.try_with(|ledger| ledger.work.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_try_of_a_transaction_begins_with_nothing_told() {
        for _ in 0..2 {
            within("try", async {
                assert_eq!((has_told(), &*work()), (false, "try"));
                tell();
                assert!(has_told());
            })
            .await;
        }
        tell();
        assert_eq!((has_told(), &*work()), (false, ""), "outside of a transaction there is nothing to tell");
    }
}
