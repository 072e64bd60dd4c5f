//! How a process ends: it stops accepting work, finishes what it has, and goes.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Asks the tasks of a process to end, and waits until they have.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    begun: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// A process that has not begun to end.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of this process that can be drained by itself and is drained with it.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { begun: self.begun.child_token(), tasks: self.tasks.clone() }
    }

    /// Runs a task that the end of the process waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn(task));
    }

    /// Completes when the end has begun.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Begins the end.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Runs `work` until it is done or the end has begun; `None` then.
    pub async fn unless_begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.begun.run_until_cancelled(work).await
    }

    /// Waits until every task has ended, at most `limit`; whether they have.
    pub async fn finished(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// Completes at SIGTERM or SIGINT, and says which.
///
/// # Errors
/// When the process cannot install a handler.
pub async fn signalled() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
