//! A person's open watch stream, remembered so that a story can wait for what it shows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use diwan_proto::conversation::v1::{
    AvailabilityState, WatchInboxRequest, inbox_service_client::InboxServiceClient, watch_inbox_response::Event,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tonic::{Status, Streaming};

use crate::{Failure, door::Person};

/// What a stream has shown, with the time at which it came.
#[derive(Default)]
struct Seen {
    events: Vec<(Instant, Event)>,
    ended: Option<(Instant, Status)>,
}

/// An open watch stream. Dropping it closes the stream.
pub struct Inbox {
    seen: Arc<Mutex<Seen>>,
    news: watch::Receiver<()>,
    reader: JoinHandle<()>,
}

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("the watch stream did not show within {limit:?} that {what}; it showed {shown} events and {ended}")]
pub struct NotShown {
    what: String,
    limit: Duration,
    shown: usize,
    ended: String,
}

impl Inbox {
    /// Opens the stream and waits until it stands; returns it with the availability that it gave its owner.
    ///
    /// # Errors
    /// When the stream is refused.
    pub async fn open(person: &Person) -> Result<(Self, AvailabilityState), Failure> {
        let mut client = InboxServiceClient::new(person.way());
        let stream = client.watch_inbox(WatchInboxRequest::default()).await?.into_inner();
        let (sender, news) = watch::channel(());
        let seen = Arc::<Mutex<Seen>>::default();
        let reader = tokio::spawn(read(stream, seen.clone(), sender));
        let mut inbox = Self { seen, news, reader };
        let ready = |event: &Event| match event {
            Event::Ready(availability) => Some(availability.state()),
            _ => None,
        };
        let (_, state) = inbox.wait("it stands", Duration::from_secs(5), ready).await?;
        Ok((inbox, state))
    }

    /// Waits until an event has been shown from which `pick` takes something; returns it with the time at which it came.
    ///
    /// # Errors
    /// [`NotShown`] after `limit`.
    pub async fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        pick: impl Fn(&Event) -> Option<T>,
    ) -> Result<(Instant, T), NotShown> {
        let found = |seen: &Seen| seen.events.iter().find_map(|(at, event)| pick(event).map(|picked| (*at, picked)));
        self.until(limit, found).await.ok_or_else(|| self.not_shown(what, limit))
    }

    /// Waits until the stream has ended; returns when and how.
    ///
    /// # Errors
    /// [`NotShown`] after `limit`.
    pub async fn wait_for_end(&mut self, limit: Duration) -> Result<(Instant, Status), NotShown> {
        self.until(limit, |seen| seen.ended.clone()).await.ok_or_else(|| self.not_shown("it has ended", limit))
    }

    async fn until<T>(&mut self, limit: Duration, found: impl Fn(&Seen) -> Option<T>) -> Option<T> {
        let seen = self.seen.clone();
        let waited = async {
            loop {
                self.news.mark_unchanged();
                if let Some(found) = found(&seen.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return Some(found);
                }
                if self.news.changed().await.is_err() {
                    return found(&seen.lock().unwrap_or_else(PoisonError::into_inner));
                }
            }
        };
        timeout(limit, waited).await.ok().flatten()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_shown(&self, what: &str, limit: Duration) -> NotShown {
        let seen = self.seen();
        let ended = seen.ended.as_ref().map_or("is open".to_owned(), |(_, status)| format!("ended with {status}"));
        NotShown { what: what.to_owned(), limit, shown: seen.events.len(), ended }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(
    mut stream: Streaming<diwan_proto::conversation::v1::WatchInboxResponse>,
    seen: Arc<Mutex<Seen>>,
    news: watch::Sender<()>,
) {
    loop {
        let next = stream.message().await;
        let now = Instant::now();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Ok(Some(message)) => seen.events.extend(message.event.map(|event| (now, event))),
            Ok(None) => seen.ended = Some((now, Status::ok("the server closed it"))),
            Err(status) => seen.ended = Some((now, status)),
        }
        news.send_replace(());
        if seen.ended.is_some() {
            return;
        }
    }
}
