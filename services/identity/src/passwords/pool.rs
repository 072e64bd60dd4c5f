//! The threads that compute: their own, and of lower priority than everything else in the machine. A rush of sign-ins takes what
//! others leave; nobody's call waits for a hash to be ready.

use std::{
    io,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

/// Of 19, the least; each step is a tenth less of a busy core.
#[cfg(target_os = "linux")]
const NICE: i32 = 15;

type Job = Box<dyn FnOnce() + Send>;

/// Clones share the threads, which end with the last of them.
#[derive(Clone)]
pub(super) struct Pool(Sender<Job>);

impl Pool {
    /// Starts as many threads as `runs`.
    pub(super) fn start(runs: NonZero<usize>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..runs.get() {
            let queue = queue.clone();
            thread::Builder::new().name("passwords".into()).spawn(move || work(&queue))?;
        }
        Ok(Self(jobs))
    }

    /// Has `job` done. Were no thread left, it would be dropped, and with it whatever its caller waits by.
    pub(super) fn give(&self, job: Job) {
        let _ = self.0.send(job);
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    yield_to_others();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // Whoever waits for it notices that no answer comes; the thread is needed for the next one.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// On Linux a priority belongs to a thread (setpriority(2), "C library/kernel differences").
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "passwords are hashed at the priority of everything else");
    }
}
