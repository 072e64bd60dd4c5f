//! Alerts on what waits too long in a queue.

use std::collections::HashMap;

use diwan_feed::Change;
use diwan_proto::conversation::v1::ConversationWaitsLong;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Error,
    store::{Tx, conversations, queue},
};

/// The most alerts of one transaction.
pub const BATCH: i64 = 200;

/// Makes the alerts of one team, each once a wait: the mark and the event are committed together. Returns how many.
pub async fn alert(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<usize, Error> {
    let long: HashMap<Uuid, i32> = queue::mark_long_waits(tx, account, team, now, BATCH).await?.into_iter().collect();
    let ids: Vec<Uuid> = long.keys().copied().collect();
    let mut events = Vec::with_capacity(long.len());
    for conversation in conversations::load(tx, account, &ids).await? {
        let payload = ConversationWaitsLong {
            conversation: Some(conversation.to_proto(account)?),
            wait_alert_seconds: long.get(&conversation.id).copied().unwrap_or_default(),
        };
        events.push(Change::new(conversation.id, conversation.version, &payload));
    }
    if !events.is_empty() {
        diwan_feed::append(tx, account, now, &events).await?;
    }
    Ok(events.len())
}
