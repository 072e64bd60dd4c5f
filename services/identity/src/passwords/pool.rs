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

/// How long a thread goes on while somebody waits for its core, in nanoseconds: the least that Linux takes. By default it is about 3 ms, whatever the
/// priority, and a call wakes up ten times on its way.
#[cfg(target_os = "linux")]
const SLICE: u64 = 100_000;

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
    {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::warn!(%error, "passwords are hashed at the priority of everything else");
        }
        if let Err(error) = be_brief() {
            tracing::info!(%error, "passwords are hashed in slices of the usual length");
        }
    }
}

/// Asks for slices of [`SLICE`], which Linux heeds since 6.12 and passes over before (sched_setattr(2); "EEVDF Scheduler" in its documentation).
#[cfg(target_os = "linux")]
fn be_brief() -> io::Result<()> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(u32::MAX);
    let attributes = libc::sched_attr {
        size,
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: 0,
        sched_nice: NICE,
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    #[expect(unsafe_code, reason = "no safe wrapper of this system call exists")]
    // SAFETY: the kernel reads `size` bytes from the pointer, which are this value, and writes none. 0 is this thread; there are no flags.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// The field of proc_pid_stat(5) by its number there, of the thread that asks.
    fn stat(field: usize) -> i32 {
        let line = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        line.rsplit_once(") ").unwrap().1.split(' ').nth(field - 3).unwrap().parse().unwrap()
    }

    #[test]
    fn a_thread_that_hashes_yields_to_everybody_and_is_no_less_than_usual_otherwise() {
        let (said, heard) = mpsc::channel();
        let pool = Pool::start(NonZero::<usize>::MIN).unwrap();
        pool.give(Box::new(move || said.send((stat(19), stat(41))).unwrap()));
        assert_eq!(heard.recv().unwrap(), (NICE, libc::SCHED_OTHER));
        assert_ne!(stat(19), NICE, "only the threads of the pool");
        assert!(be_brief().is_ok(), "the kernel takes the attributes as they are");
    }
}
