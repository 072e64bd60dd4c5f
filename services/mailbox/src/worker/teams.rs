//! Follows team: the mailboxes of an archived team name the one that has taken its place, and keep naming it when that comes back.
//!
//! Until the event is here, mail goes on under the old name, and conversation leads it to the receiving team.

use std::sync::Arc;

use diwan_feed::{Event, Handler, Record, consume};
use diwan_launch::Context;
use diwan_proto::{feed::v1::feed_service_client::FeedServiceClient, team::v1::TeamChanged};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{api::encode, shared::Shared, store::teams};

/// Starts to follow.
pub(crate) fn start(context: &Context, shared: &Arc<Shared>) {
    let source = FeedServiceClient::new(context.network.to("team").signed(&context.signer));
    consume(&context.drain, "team", source, shared.database.clone(), Follower { shared: shared.clone() });
}

struct Follower {
    shared: Arc<Shared>,
}

impl Handler for Follower {
    type Error = diwan_store::Error;

    fn concerns(&self, event: &Event) -> bool {
        event.is::<TeamChanged>()
    }

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Self::Error> {
        let Some(TeamChanged { team: Some(team) }) = event.payload()? else { return Ok(()) };
        let heir = team.archived_at.and_then(|_| Uuid::try_parse(&team.receiving_team_id).ok());
        if !teams::set(tx, (event.account, event.entity), heir, event.version).await? {
            return Ok(());
        }
        // It may be archived in turn.
        let heir = teams::resolve(tx, event.account, event.entity).await?;
        if heir != event.entity {
            self.move_mailboxes(tx, event.account, (event.entity, heir)).await?;
        }
        Ok(())
    }
}

impl Follower {
    async fn move_mailboxes(
        &self,
        tx: &mut PgConnection,
        account: Uuid,
        (from, to): (Uuid, Uuid),
    ) -> Result<(), diwan_store::Error> {
        for before in teams::move_mailboxes(tx, account, (from, to)).await? {
            let mut after = before.clone();
            after.team_id = to;
            let change = Record::change(before.id, Some(&encode::mailbox(&before)), Some(&encode::mailbox(&after)));
            diwan_feed::record(tx, account, self.shared.clock.now(), &change).await?;
        }
        Ok(())
    }
}
