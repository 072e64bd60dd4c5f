//! The events of one account from one service, however often that service goes away and comes back.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::feed::v1::{
    Cursor, Event, WatchEventsRequest, WatchEventsResponse, feed_service_client::FeedServiceClient,
};
use diwan_runtime::backoff::Backoff;
use diwan_transport::Transport;
use futures::{Stream, stream};
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};
use uuid::Uuid;

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A stream this silent is dead: a service sends something every five seconds.
const SILENCE: Duration = Duration::from_secs(15);

/// What came from one service.
pub(super) struct Piece {
    /// Which one.
    pub(super) service: &'static str,
    /// What it sent.
    pub(super) sent: WatchEventsResponse,
}

struct Source {
    service: &'static str,
    client: FeedServiceClient<Transport>,
    account: Uuid,
    after: Option<Cursor>,
    open: Option<Streaming<WatchEventsResponse>>,
    backoff: Backoff,
}

/// Follows `service` after a cursor. Nothing is read ahead of who polls, so a slow reader holds the service back and fills no
/// memory. It ends only with CURSOR_GONE.
pub(super) fn follow(
    service: &'static str,
    transport: Transport,
    account: Uuid,
    after: Option<Cursor>,
) -> impl Stream<Item = Result<Piece, Status>> + Send {
    let client = FeedServiceClient::new(transport);
    let backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    let source = Source { service, client, account, after, open: None, backoff };
    stream::unfold(source, async |mut source| Some((source.next().await, source)))
}

impl Source {
    async fn next(&mut self) -> Result<Piece, Status> {
        loop {
            match self.message().await {
                Ok(Some(sent)) => {
                    self.after = sent.events.last().and_then(|event: &Event| event.cursor).or(self.after);
                    self.backoff.reset();
                    return Ok(Piece { service: self.service, sent });
                }
                Err(status) if reason_of(&status).as_deref() == Some("CURSOR_GONE") => return Err(status),
                Err(status) => tracing::debug!(service = self.service, %status, "a feed is followed again"),
                Ok(None) => {}
            }
            self.open = None;
            sleep(self.backoff.next_delay()).await;
        }
    }

    /// The next message; `None` when the stream has ended or says nothing.
    async fn message(&mut self) -> Result<Option<WatchEventsResponse>, Status> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let request = WatchEventsRequest { after: self.after, account_id: self.account.to_string() };
                none.insert(self.client.watch_events(request).await?.into_inner())
            }
        };
        timeout(SILENCE, open.message()).await.unwrap_or(Ok(None))
    }
}
