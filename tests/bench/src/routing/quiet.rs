//! Waiting until what follows the conversations has followed: it would be measured along.

use std::time::Duration;

use diwan_e2e::Failure;

use crate::cast::Scene;

const LIMIT: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Returns once identity's audit log has taken in everything that the conversation service has told.
pub(super) async fn wait(scene: &Scene) -> Result<(), Failure> {
    let (mut conversation, mut identity) = (scene.database("conversation").await?, scene.database("identity").await?);
    let followed = async {
        loop {
            let told: (i64, i64) = sqlx::query_as(
                "select xid::text::bigint, seq from feed_events order by feed_events.xid desc, seq desc limit 1",
            )
            .fetch_one(&mut conversation)
            .await?;
            let heard: Option<(i64, i64)> = sqlx::query_as(
                "select transaction, sequence from feed_cursors
                 where source = 'audit of conversation' and not exists (select from audit_inbox)",
            )
            .fetch_optional(&mut identity)
            .await?;
            if heard.is_some_and(|heard| heard >= told) {
                return Ok::<(), Failure>(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(LIMIT, followed).await.map_err(|_| "the audit log does not follow in time")?
}
