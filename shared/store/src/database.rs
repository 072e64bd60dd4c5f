//! A service's database as its handlers see it: transactions that are run again when they lost a race, and that wake
//! whoever waits for changes.

use std::{error::Error as StdError, pin::Pin, time::Duration};

use diwan_audit::ledger;
use diwan_runtime::backoff::delay_after;
use jiff::Timestamp;
use prost::{Message, Name};
use sqlx::{PgConnection, PgPool};
use tracing::Instrument as _;

use crate::{
    Error, Wake,
    answers::{self, Request},
    error::lost_a_race,
    outbox,
    span::span_of_transaction,
    wake,
};

/// How often a transaction is run that loses against others.
const TRIES: u32 = 10;
/// The second loss in a row and those after it: whoever wins has to get out of the way.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What runs in a transaction: an `async |tx: &mut PgConnection| { .. }` that borrows what it uses (not `move`: it may
/// run again).
///
/// It stands for `AsyncFn(&mut PgConnection) -> Result<T, E>` whose future is Send, which stable Rust cannot say.
pub trait Body<'t, T, E>: Fn(&'t mut PgConnection) -> <Self as Body<'t, T, E>>::Running + Send + Sync {
    /// One run.
    type Running: Future<Output = Result<T, E>> + Send;
}

impl<'t, T, E, F, R> Body<'t, T, E> for F
where
    F: Fn(&'t mut PgConnection) -> R + Send + Sync,
    R: Future<Output = Result<T, E>> + Send,
{
    type Running = R;
}

/// A pool, and the wake-ups that go with its transactions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    wake: Wake,
}

impl Database {
    /// Puts both together. They must be of the same database.
    pub fn new(pool: PgPool, wake: Wake) -> Self {
        Self { pool, wake }
    }

    /// The pool, for reading.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The wake-ups.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Runs `body` in a transaction and commits it, then rings [`wake::COMMITTED`]. An error of `body` rolls back. A
    /// serialization failure or a deadlock runs the whole again, so `body` must not have effects elsewhere; it must not
    /// wait for the network either, since an open transaction holds every feed of the cluster back.
    ///
    /// Of a user's or a principal's call to a method that may change something, every transaction that writes leaves an entry in
    /// the audit log: where `body` tells nothing, the transaction's name.
    ///
    /// The future is boxed because the compiler otherwise fails to see that a handler which awaits it is Send.
    ///
    /// # Errors
    /// What `body` returns, or [`Error::Sqlx`] from beginning or committing.
    pub fn transaction<'a, T, E, F>(
        &'a self,
        name: &'static str,
        body: F,
    ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>
    where
        T: Send + 'a,
        E: From<Error> + StdError + Send + 'static,
        F: for<'t> Body<'t, T, E> + 'a,
    {
        Box::pin(async move {
            let mut tries = 1;
            loop {
                let attempt = ledger::within(name, self.attempt(&body));
                match attempt.instrument(span_of_transaction(name)).await {
                    Err(error) if tries < TRIES && lost_a_race(&error) => {
                        tracing::debug!(transaction = name, tries, "a transaction lost a race and is run again");
                        if tries > 1 {
                            tokio::time::sleep(delay_after(tries - 2, PAUSE, LONGEST_PAUSE)).await;
                        }
                        tries += 1;
                    }
                    outcome => return outcome,
                }
            }
        })
    }

    async fn attempt<T, E: From<Error>>(&self, body: &impl for<'t> Body<'t, T, E>) -> Result<T, E> {
        let mut tx = self.pool.begin().await.map_err(Error::from)?;
        let done = body(&mut tx).await?;
        outbox::tell_untold(&mut tx).await?;
        tx.commit().await.map_err(Error::from)?;
        self.wake.ring(wake::COMMITTED);
        Ok(done)
    }

    /// Answers a request that changes something, once: runs `body` in a [`Database::transaction`] and stores its answer
    /// there, or returns the answer that the same request got before. Of those that arrive at once, one runs and the
    /// others wait for its answer. An error is not stored: the next try runs again. A `body` that writes no event is told of
    /// in the audit log by what was asked and answered.
    ///
    /// # Errors
    /// What `body` returns, [`Error::RequestIdReused`], or [`Error::Sqlx`].
    pub fn answer_once<'a, A, E, F>(
        &'a self,
        request: &'a Request,
        now: Timestamp,
        body: F,
    ) -> Pin<Box<dyn Future<Output = Result<A, E>> + Send + 'a>>
    where
        A: Message + Name + Default + 'a,
        E: From<Error> + StdError + Send + 'static,
        F: for<'t> Body<'t, A, E> + 'a,
    {
        Box::pin(async move {
            self.transaction(request.method, async |tx: &mut PgConnection| {
                if let Some(answer) = answers::claim(tx, request, now).await? {
                    return Ok(answer);
                }
                let answer = body(tx).await?;
                answers::keep(tx, request, &answer).await?;
                answers::tell(tx, request, &answer, now).await?;
                Ok(answer)
            })
            .await
        })
    }
}
