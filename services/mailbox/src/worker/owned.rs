//! A mailbox that this replica owns: its four loops, and giving it back when they have ended.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_runtime::{Drain, backoff::Backoff};
use futures::FutureExt as _;
use sqlx::{Postgres, pool::PoolConnection};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

use super::{ingest, report, send, sync};
use crate::{
    config::Config,
    error::{Error, words},
    shared::{FLEET, Shared},
    store::{
        leases::{self, Claimed},
        mailboxes::{self, Mailbox},
    },
};

/// How long a loop rests that was not told of any work; then it looks for itself.
pub(super) const REST: Duration = Duration::from_secs(30);

/// A mailbox that this replica owns.
pub(crate) struct Owned {
    pub(super) shared: Arc<Shared>,
    pub(super) account: Uuid,
    pub(super) id: Uuid,
    replica: Uuid,
    /// Begun when the mailbox is somebody else's, or the process ends.
    pub(crate) part: Drain,
    /// There is mail for conversation.
    pub(super) to_ingest: Notify,
    /// There is mail to send.
    pub(crate) to_send: Notify,
    /// There is news of mail that was sent.
    pub(super) to_report: Notify,
    /// One further IMAP session at a time.
    pub(super) second_session: Mutex<()>,
    /// Whether what an earlier owner left behind has been dealt with.
    looked: AtomicBool,
}

impl Owned {
    /// Starts the loops.
    pub(super) fn start(shared: &Arc<Shared>, replica: Uuid, lease: Claimed) -> Arc<Self> {
        let owned = Arc::new(Self {
            shared: shared.clone(),
            account: lease.account_id,
            id: lease.mailbox_id,
            replica,
            part: shared.drain.part(),
            to_ingest: Notify::new(),
            to_send: Notify::new(),
            to_report: Notify::new(),
            second_session: Mutex::new(()),
            looked: AtomicBool::new(false),
        });
        let working = owned.clone();
        shared.drain.spawn(async move {
            tracing::debug!(mailbox_id = %working.id, "a mailbox was taken over");
            tokio::join!(sync::run(&working), ingest::run(&working), send::run(&working), report::run(&working));
            // A lease that was lost is somebody's, perhaps this replica's again.
            if working.shared.drain.has_begun() {
                working.give_back().await;
            }
        });
        owned
    }

    /// The mailbox's key.
    pub(super) fn key(&self) -> (Uuid, Uuid) {
        (self.account, self.id)
    }

    pub(super) async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        Ok(self.shared.database.pool().acquire().await?)
    }

    pub(super) async fn mailbox(&self) -> Result<Mailbox, Error> {
        let found = mailboxes::find(&mut *self.connection().await?, self.account, self.id).await?;
        found.ok_or(Error::MailboxNotFound)
    }

    /// Does `work` again and again: when `bell` rings, when the rest is over that `work` asks for, and after an error or
    /// a panic with growing pauses, so that nothing in one loop or mailbox stops another.
    pub(super) async fn rounds<F>(&self, name: &'static str, bell: &Notify, work: impl Fn() -> F)
    where
        F: Future<Output = Result<Duration, Error>>,
    {
        let mut backoff = Backoff::new(self.shared.config.retry, Config::RETRY_LONGEST);
        while !self.part.has_begun() {
            let rest = match unpanicked(work()).await {
                Some(Ok(rest)) => {
                    backoff.reset();
                    self.part.unless_begun(tokio::time::timeout(rest, bell.notified())).await;
                    continue;
                }
                Some(Err(error)) => {
                    tracing::warn!(mailbox_id = %self.id, work = name, error = words(&error), "tried again later");
                    backoff.next_delay()
                }
                None => {
                    tracing::error!(mailbox_id = %self.id, work = name, "panicked, tried again later");
                    backoff.next_delay()
                }
            };
            self.part.unless_begun(tokio::time::sleep(rest)).await;
        }
    }

    /// As [`Owned::rounds`], for work that may be broken off when the mailbox is given back.
    pub(super) async fn breakable<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
        otherwise: T,
    ) -> Result<T, Error> {
        self.part.unless_begun(work).await.unwrap_or(Ok(otherwise))
    }

    /// Whether [`Owned::has_looked`] is still to come.
    pub(super) fn is_first_look(&self) -> bool {
        !self.looked.load(Ordering::Relaxed)
    }

    /// The first look succeeded. Until then each one is the first: the database may have failed it.
    pub(super) fn has_looked(&self) {
        self.looked.store(true, Ordering::Relaxed);
    }

    /// So that another replica need not wait for the lease to expire.
    async fn give_back(&self) {
        let now = self.shared.clock.now();
        let given = async {
            let mut connection = self.connection().await?;
            Ok::<_, Error>(leases::release(&mut connection, self.replica, self.id, now).await?)
        };
        match given.await {
            Ok(()) => self.shared.database.wake().ring(FLEET),
            Err(error) => {
                tracing::warn!(mailbox_id = %self.id, error = words(&error), "a mailbox could not be given back");
            }
        }
    }
}

/// What `work` ends with, or `None` when it panicked.
pub(super) async fn unpanicked<T>(work: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(work).catch_unwind().await.ok()
}
