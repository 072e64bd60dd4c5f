//! Finishes the jobs that nobody has finished.

use std::time::Duration;

use diwan_runtime::{
    Drain,
    clock::{after, between},
    worker::supervise,
};
use tokio::task::JoinSet;

use crate::{
    effects::{Effects, LEASE},
    error::Error,
    store::jobs,
};

/// How many run at a time, so that a slow mail server does not keep seats waiting.
const AT_ONCE: usize = 16;
/// The longest rest, for what a lost wake-up missed.
const REST: Duration = Duration::from_secs(5);

/// Starts the worker.
pub fn start(drain: &Drain, effects: Effects) {
    supervise(drain, "identity jobs", move || work(effects.clone()));
}

async fn work(effects: Effects) -> Result<(), Error> {
    let mut woken = effects.database.wake().subscribe(super::JOBS);
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let rest = start_due(&effects, &mut running).await?;
        tokio::select! {
            _ = woken.within(rest) => {}
            Some(_) = running.join_next() => {}
        }
    }
}

/// Starts what is due and there is room for. Returns for how long there is nothing more to start.
async fn start_due(effects: &Effects, running: &mut JoinSet<()>) -> Result<Duration, Error> {
    let room = AT_ONCE.saturating_sub(running.len());
    if room == 0 {
        return Ok(REST);
    }
    let now = effects.clock.now();
    let mut connection = effects.database.pool().acquire().await?;
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    for job in jobs::claim(&mut connection, now, after(now, LEASE), limit).await? {
        let effects = effects.clone();
        running.spawn(async move { effects.run(&job).await });
    }
    let next = jobs::next_due(&mut connection).await?;
    Ok(next.map_or(REST, |next| between(effects.clock.now(), next).clamp(Duration::from_millis(10), REST)))
}
