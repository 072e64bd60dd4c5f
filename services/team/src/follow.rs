//! Follows identity: the time zones of the accounts, and who of the users is deactivated.

use std::sync::Arc;

use diwan_account_data::hear;
use diwan_feed::{Event, Handler, consume};
use diwan_launch::Context;
use diwan_proto::{
    feed::v1::feed_service_client::FeedServiceClient,
    identity::v1::{AccountChanged, UserChanged, UserState},
};
use diwan_runtime::Clock;
use diwan_store::Database;
use sqlx::PgConnection;

use crate::{change, error::Error, store::user_states};

/// Starts to follow.
pub(crate) fn start(context: &Context, database: &Database) {
    let source = FeedServiceClient::new(context.network.to("identity").signed(&context.signer));
    consume(&context.drain, "identity", source, database.clone(), Follower { clock: context.clock.clone() });
}

struct Follower {
    clock: Arc<dyn Clock>,
}

impl Handler for Follower {
    type Error = Error;

    fn concerns(&self, event: &Event) -> bool {
        event.is::<AccountChanged>() || event.is::<UserChanged>() || diwan_account_data::concerns(event)
    }

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Error> {
        if let Some(AccountChanged { account: Some(account) }) = event.payload()? {
            change::move_zone(tx, event.account, &account.time_zone, event.version, self.clock.now()).await?;
        }
        if let Some(UserChanged { user: Some(user) }) = event.payload()? {
            let deactivated = user.state() == UserState::Deactivated;
            user_states::set(tx, event.account, event.entity, deactivated, event.version).await?;
        }
        Ok(hear(tx, event, self.clock.now()).await?)
    }
}
