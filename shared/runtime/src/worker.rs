//! Loops that run as long as the process: they start again after a failure, and end when it drains.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::{Drain, backoff::Backoff};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Runs `work` again and again until the process drains: after an error or a panic with growing delays, so that one
/// broken loop neither ends the process nor floods the log.
pub fn supervise<F, E>(drain: &Drain, name: &'static str, mut work: impl FnMut() -> F + Send + 'static)
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let ending = drain.clone();
    drain.spawn(async move {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        while !ending.has_begun() {
            let begun = Instant::now();
            // A task of its own turns a panic into a value.
            let run = tokio::spawn(work());
            let abort = run.abort_handle();
            let ended = ending.unless_begun(run).await;
            // Most loops return only when they fail: one that ran well for long has not failed in a row.
            if begun.elapsed() > LONGEST_DELAY {
                backoff.reset();
            }
            match ended {
                None => abort.abort(),
                Some(Ok(Ok(()))) => backoff.reset(),
                Some(Ok(Err(error))) => {
                    tracing::warn!(worker = name, error = chain(&error), "a worker failed and starts again");
                    ending.unless_begun(tokio::time::sleep(backoff.next_delay())).await;
                }
                Some(Err(panic)) => {
                    tracing::error!(worker = name, error = chain(&panic), "a worker panicked and starts again");
                    ending.unless_begun(tokio::time::sleep(backoff.next_delay())).await;
                }
            }
        }
    });
}

/// An error with all its causes, for the log: Display shows only the outermost.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_worker_that_fails_or_panics_starts_again_and_ends_when_the_process_drains() {
        let drain = Drain::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let (third, reached) = tokio::sync::oneshot::channel();
        let third = Arc::new(std::sync::Mutex::new(Some(third)));
        let count = runs.clone();
        supervise(&drain, "test", move || {
            let (run, third) = (count.fetch_add(1, Ordering::SeqCst), third.clone());
            async move {
                match run {
                    0 => Err(std::io::Error::other("first")),
                    1 => panic!("second"),
                    _ => {
                        third.lock().unwrap().take().map(|sender| sender.send(()));
                        std::future::pending().await
                    }
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(5), reached).await.unwrap().unwrap();
        drain.begin();
        assert!(drain.finished(Duration::from_secs(5)).await);
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}
