//! Follows identity: accounts whose data is to be deleted.

use std::sync::Arc;

use diwan_account_data::hear;
use diwan_feed::{Event, Handler, consume};
use diwan_launch::Context;
use diwan_proto::feed::v1::feed_service_client::FeedServiceClient;
use diwan_runtime::Clock;
use diwan_store::Database;
use sqlx::PgConnection;

/// Starts to follow.
pub(crate) fn start(context: &Context, database: &Database) {
    let source = FeedServiceClient::new(context.network.to("identity").signed(&context.signer));
    consume(&context.drain, "identity", source, database.clone(), Follower { clock: context.clock.clone() });
}

struct Follower {
    clock: Arc<dyn Clock>,
}

impl Handler for Follower {
    type Error = diwan_store::Error;

    fn concerns(&self, event: &Event) -> bool {
        diwan_account_data::concerns(event)
    }

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Self::Error> {
        hear(tx, event, self.clock.now()).await
    }
}
