//! Loops that run as long as the service.

use std::{sync::Arc, time::Duration};

use diwan_runtime::{Clock, Drain, worker};
use diwan_store::{Error, answers};
use sqlx::PgPool;

/// How long a repeated request gets its first answer. Clients give up long before.
const ANSWERS_KEPT: Duration = Duration::from_hours(48);
const PAUSE: Duration = Duration::from_hours(1);

/// Deletes answers to requests that nobody repeats any more.
pub(crate) fn forget_old_answers(drain: &Drain, pool: &PgPool, clock: &Arc<dyn Clock>) {
    let (pool, clock) = (pool.clone(), clock.clone());
    worker::supervise(drain, "forget old answers", move || {
        let (pool, clock) = (pool.clone(), clock.clone());
        async move {
            answers::purge(&pool, clock.now(), ANSWERS_KEPT).await?;
            clock.sleep(PAUSE).await;
            Ok::<_, Error>(())
        }
    });
}
