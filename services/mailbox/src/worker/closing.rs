//! Follows identity: an account that is closed for good has its mailboxes worked on by nobody, and later its data is deleted.
//!
//! While it is only closing, they go on: customers still write, and what they wrote is there if the owner keeps his account.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use diwan_account_data::hear;
use diwan_feed::{Event, Handler, consume};
use diwan_launch::Context;
use diwan_proto::{
    feed::v1::feed_service_client::FeedServiceClient,
    identity::v1::{AccountChanged, AccountState},
};
use sqlx::PgConnection;

use crate::{
    shared::{CLOSED, Shared},
    store::closed,
};

/// Starts to follow.
pub(crate) fn start(context: &Context, shared: &Arc<Shared>) {
    let source = FeedServiceClient::new(context.network.to("identity").signed(&context.signer));
    let follower = Follower { shared: shared.clone(), has_closed: AtomicBool::new(false) };
    consume(&context.drain, "identity", source, shared.database.clone(), follower);
}

struct Follower {
    shared: Arc<Shared>,
    /// Whether an event of the present transaction closed an account. After one that is rolled back the fleets look in vain.
    has_closed: AtomicBool,
}

impl Handler for Follower {
    type Error = diwan_store::Error;

    fn concerns(&self, event: &Event) -> bool {
        event.is::<AccountChanged>() || diwan_account_data::concerns(event)
    }

    /// No account comes back from there, so it does not matter which of its events is the last.
    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Self::Error> {
        if let Some(AccountChanged { account: Some(account) }) = event.payload()?
            && account.state() == AccountState::Closed
        {
            closed::close(tx, event.account, self.shared.clock.now()).await?;
            self.has_closed.store(true, Ordering::Relaxed);
        }
        hear(tx, event, self.shared.clock.now()).await
    }

    fn committed(&self) {
        if self.has_closed.swap(false, Ordering::Relaxed) {
            self.shared.database.wake().ring(CLOSED);
        }
    }
}
