//! What a request carries with it through the process, beside its message.

use std::future::Future;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Option<Instant>;
}

/// Runs `request` with a deadline that the calls it makes inherit.
pub fn with_deadline<F: Future>(deadline: Option<Instant>, request: F) -> impl Future<Output = F::Output> {
    DEADLINE.scope(deadline, request)
}

/// As [`with_deadline`], for work that does not wait.
pub(crate) fn with_deadline_now<T>(deadline: Option<Instant>, work: impl FnOnce() -> T) -> T {
    DEADLINE.sync_scope(deadline, work)
}

/// When the caller of the present request stops waiting, if he said.
pub fn deadline() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok().flatten()
}
