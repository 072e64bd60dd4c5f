//! Wake-ups between the replicas of a service: whoever changed something rings, whoever waits for work wakes at once.
//!
//! A wake-up is a hint and can be lost, so every waiter also looks by itself now and then: [`Woken::within`].
//!
//! NOTIFY inside a writing transaction would make every such commit of the whole cluster wait for the one before it
//! (PostgreSQL holds one lock over the flush of the log: 3,000 commits a second instead of 15,000 from 32 clients on 2
//! cores). So it is sent after the commit, one statement for all that have rung meanwhile.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use diwan_runtime::{Drain, ids, worker};
use sqlx::{
    Executor as _, PgPool,
    postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

/// Rung after every transaction of [`crate::Database`].
pub const COMMITTED: &str = "committed";

/// The one PostgreSQL channel that carries them all; the payload names the sender and what was rung.
const CHANNEL: &str = "diwan_wake";
/// How soon another NOTIFY follows: each is a transaction, and load makes longer payloads, not more of them.
const PACE: Duration = Duration::from_millis(3);
/// How long the listener hears nothing before it checks that the server is still there.
const PING: Duration = Duration::from_secs(15);

/// Rings and hears. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wake(Arc<Bells>);

#[derive(Debug)]
struct Bells {
    /// Names this process to itself, so that it does not wake twice.
    sender: String,
    waiting: Mutex<HashMap<String, watch::Sender<()>>>,
    rung: Mutex<BTreeSet<&'static str>>,
    ringing: Notify,
}

impl Wake {
    /// Starts to listen and to send, until the process drains.
    pub fn start(drain: &Drain, pool: &PgPool) -> Self {
        let wake = Self(Arc::new(Bells {
            sender: ids::new_id().to_string(),
            waiting: Mutex::default(),
            rung: Mutex::default(),
            ringing: Notify::new(),
        }));
        let (bells, options) = (wake.0.clone(), pool.connect_options());
        worker::supervise(drain, "wake listener", move || listen(bells.clone(), options.clone()));
        let (bells, pool) = (wake.0.clone(), pool.clone());
        worker::supervise(drain, "wake sender", move || send(bells.clone(), pool.clone()));
        wake
    }

    /// Wakes those who wait for `bell`, here at once and in the other replicas as soon as a NOTIFY has travelled. Call it
    /// after the commit.
    pub fn ring(&self, bell: &'static str) {
        self.0.strike(bell);
        lock(&self.0.rung).insert(bell);
        self.0.ringing.notify_one();
    }

    /// Waits for `bell` from now on.
    pub fn subscribe(&self, bell: &str) -> Woken {
        Woken(lock(&self.0.waiting).entry(bell.to_owned()).or_default().subscribe())
    }
}

/// Hears one bell. Rings that nobody waited for count as one.
#[derive(Clone, Debug)]
pub struct Woken(watch::Receiver<()>);

impl Woken {
    /// Waits until the bell rings, at most `limit`; then it is time to look for what a lost wake-up missed. Returns
    /// whether it rang.
    pub async fn within(&mut self, limit: Duration) -> bool {
        match timeout(limit, self.0.changed()).await {
            Ok(Ok(())) => true,
            Err(_elapsed) => false,
            // The last `Wake` is gone: nothing rings any more, and returning at once would make the caller spin.
            Ok(Err(_gone)) => {
                sleep(limit).await;
                false
            }
        }
    }
}

impl Bells {
    fn strike(&self, bell: &str) {
        if let Some(bell) = lock(&self.waiting).get(bell) {
            bell.send_replace(());
        }
    }

    fn strike_all(&self) {
        lock(&self.waiting).values().for_each(|bell| bell.send_replace(()));
    }

    fn heard(&self, notification: &PgNotification) {
        let mut words = notification.payload().split(' ');
        if words.next() != Some(&self.sender) {
            words.for_each(|bell| self.strike(bell));
        }
    }
}

async fn send(bells: Arc<Bells>, pool: PgPool) -> Result<(), sqlx::Error> {
    loop {
        bells.ringing.notified().await;
        let rung = mem::take(&mut *lock(&bells.rung));
        let payload = rung.iter().fold(bells.sender.clone(), |words, bell| words + " " + bell);
        sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(&pool).await?;
        sleep(PACE).await;
    }
}

/// Ends when the connection is lost; starting again wakes everybody, because what was rung meanwhile is lost.
async fn listen(bells: Arc<Bells>, options: Arc<PgConnectOptions>) -> Result<(), sqlx::Error> {
    // A pool of its own, so that listening takes no connection from the requests.
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with((*options).clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    bells.strike_all();
    while let Ok(true) = hear(&bells, &mut listener).await {}
    tracing::warn!("the connection that listens for wake-ups was lost");
    Ok(())
}

/// Whether the connection still stands.
async fn hear(bells: &Bells, listener: &mut PgListener) -> Result<bool, sqlx::Error> {
    match timeout(PING, listener.try_recv()).await {
        Ok(Ok(Some(notification))) => bells.heard(&notification),
        Ok(Ok(None)) => return Ok(false),
        Ok(Err(error)) => return Err(error),
        Err(_silence) => {
            let ping = timeout(PING, listener.execute("select 1")).await;
            return Ok(matches!(ping, Ok(Ok(_))));
        }
    }
    Ok(true)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
