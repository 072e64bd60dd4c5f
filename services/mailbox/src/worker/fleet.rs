//! Shares the mailboxes of the installation among its replicas: each claims what nobody keeps, and keeps what it has.
//!
//! A replica that dies stops to keep its leases; when they have expired, the others take its mailboxes over.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use diwan_runtime::{clock::after, ids, worker};
use tokio::time::Instant;
use uuid::Uuid;

use super::owned::Owned;
use crate::{
    error::{Error, words},
    shared::{CLOSED, FLEET, Shared},
    store::leases,
};

/// How many mailboxes are claimed in one statement.
const CLAIM: i64 = 50;
/// A lease is kept, and free ones are looked for, so many times within its length.
const LOOKS: u32 = 6;

/// Starts the fleet of this replica.
pub(crate) fn start(shared: &Arc<Shared>) {
    let for_fleet = shared.clone();
    worker::supervise(&shared.drain, "mailbox fleet", move || run(for_fleet.clone()));
}

/// A mailbox that this replica works on, until this is dropped.
struct Running(Arc<Owned>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.part.begin();
    }
}

struct Fleet {
    shared: Arc<Shared>,
    owner: Uuid,
    running: HashMap<Uuid, Running>,
    /// When the leases were last kept.
    kept: Instant,
}

async fn run(shared: Arc<Shared>) -> Result<(), Infallible> {
    let mut woken = shared.database.wake().subscribe(FLEET);
    let mut closed = shared.database.wake().subscribe(CLOSED);
    let pause = shared.config.lease / LOOKS;
    let mut keep_after = pause;
    let mut fleet = Fleet { shared, owner: ids::new_id(), running: HashMap::new(), kept: Instant::now() };
    loop {
        if let Err(error) = fleet.round(keep_after).await {
            tracing::warn!(error = words(&error), "the leases of the mailboxes could not be kept");
            fleet.let_go_of_what_others_may_have();
        }
        keep_after = tokio::select! {
            _ = woken.within(pause) => pause,
            // Keeping the leases says which of them are no longer there.
            _ = closed.within(pause) => Duration::ZERO,
        };
    }
}

impl Fleet {
    async fn round(&mut self, keep_after: Duration) -> Result<(), Error> {
        let mut connection = self.shared.database.pool().acquire().await?;
        if self.kept.elapsed() >= keep_after {
            let now = Instant::now();
            let until = after(self.shared.clock.now(), self.shared.config.lease);
            let kept = leases::keep(&mut connection, self.owner, until).await?;
            self.kept = now;
            self.running.retain(|mailbox, _| kept.contains(mailbox));
        }
        for mailbox in leases::take_wanted(&mut connection, self.owner).await? {
            if let Some(Running(owned)) = self.running.get(&mailbox) {
                owned.to_send.notify_one();
            }
        }
        loop {
            let now = self.shared.clock.now();
            let until = after(now, self.shared.config.lease);
            let claimed = leases::claim(&mut connection, self.owner, now, until, CLAIM).await?;
            for lease in &claimed {
                let owned = Owned::start(&self.shared, self.owner, *lease);
                self.running.insert(lease.mailbox_id, Running(owned));
            }
            if claimed.len() < usize::try_from(CLAIM).unwrap_or_default() {
                return Ok(());
            }
        }
    }

    /// Without the database nobody can say whose the mailboxes are once the leases have expired.
    fn let_go_of_what_others_may_have(&mut self) {
        if self.kept.elapsed() >= self.shared.config.lease {
            self.running.clear();
        }
    }
}
