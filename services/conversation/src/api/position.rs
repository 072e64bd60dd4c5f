//! Where a conversation stands in its queue, and how long it may still wait: see docs/decisions/expected-wait.md.

use std::time::Duration;

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1::GetQueuePositionResponse;
use uuid::Uuid;

use crate::{
    Error,
    app::App,
    domain::{expected_wait, routing::Waiting, state::State},
    store::{Tx, conversations::Conversation, hours, presence, queue},
};

/// Looks at the queue as it is now.
pub async fn position(app: &App, account: Uuid, found: &Conversation) -> Result<GetQueuePositionResponse, Error> {
    let (State::Queued, Some(queued_at)) = (found.state()?, found.queued_at) else { return Err(Error::NotQueued) };
    let place = Waiting {
        conversation: found.id,
        version: found.version,
        priority: found.priority()?,
        queued_at: queued_at.to_jiff(),
        asked: Vec::new(),
    };
    let (pool, team, now) = (app.database.pool(), found.team_id, app.clock.now());
    let position = queue::ahead(pool, account, team, &place).await? + 1;
    let since = presence::before(now, expected_wait::WINDOW);
    let given_out = queue::given_out(pool, account, team, since).await?;
    let open = hours::is_open(&mut *pool.acquire().await? as &mut Tx, account, team, now).await?;
    let wait = expected_wait::expected_wait(position, given_out).filter(|_| open);
    Ok(GetQueuePositionResponse {
        position: i32::try_from(position).unwrap_or(i32::MAX),
        expected_wait: wait.map(|wait: Duration| prost_types::Duration {
            seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        queued_at: Some(to_proto(place.queued_at)),
    })
}
