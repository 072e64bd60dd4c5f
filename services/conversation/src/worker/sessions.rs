//! The streams of this process: their leases are extended together, and each can be ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;

/// Which streams are open here.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<Open>>);

/// By session: the account, and what ends the stream when it is dropped.
type Open = HashMap<Uuid, (Uuid, watch::Sender<()>)>;

impl Sessions {
    /// A stream opens. It is listed until the entry is dropped.
    pub fn open(&self, account: Uuid, id: Uuid) -> Entry {
        let (sender, lost) = watch::channel(());
        self.lock().insert(id, (account, sender));
        Entry { id, lost, sessions: self.clone() }
    }

    /// Account and id of each.
    pub fn list(&self) -> Vec<(Uuid, Uuid)> {
        self.lock().iter().map(|(id, (account, _))| (*account, *id)).collect()
    }

    /// Ends a stream whose lease was lost.
    pub fn end(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream.
#[derive(Debug)]
pub struct Entry {
    id: Uuid,
    lost: watch::Receiver<()>,
    sessions: Sessions,
}

impl Entry {
    /// The session.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Completes when the session is no longer ours: the database says that it is over.
    pub async fn lost(&mut self) {
        // The sender is never used, only dropped.
        while self.lost.changed().await.is_ok() {}
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.sessions.end(self.id);
    }
}
