//! Closing a conversation.

use diwan_access::User;
use jiff::Timestamp;
use uuid::Uuid;

use super::authority::may_act;
use crate::{
    Error,
    domain::{
        scope::Scope,
        state::{Cause, State},
    },
    store::{
        Tx,
        conversations::{self, Conversation},
        lost_race,
        record::{Changed, Why, record},
        slots, teams,
    },
};

/// Closes a conversation for its holder, or for whoever directs him, and frees the holder's slot. A team may want a topic first: that
/// binds people, not a customer's or the system's own close.
pub async fn close(tx: &mut Tx, caller: &User, scope: &Scope, id: Uuid, now: Timestamp) -> Result<Conversation, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    if before.state == State::Closed {
        return Err(Error::AlreadyClosed);
    }
    if !may_act(scope, before) {
        return Err(Error::NotHolder);
    }
    // A topic that goes away meanwhile raises the version, so this close is tried again.
    let team = teams::find(tx, account, before.team).await?;
    if found.topic_ids.is_empty() && team.is_some_and(|team| team.topic_mandatory) {
        return Err(Error::TopicRequired);
    }
    let occupied = before.holder.filter(|_| before.state == State::Open);
    if let Some(holder) = occupied {
        slots::lock(tx, account, before.team, holder).await?;
    }
    if !conversations::close(tx, account, id, found.version, now).await? {
        return Err(lost_race(tx).await);
    }
    if let Some(holder) = occupied {
        slots::add_open(tx, account, before.team, holder, -1).await?;
    }
    let why = Why::by(Cause::Closed, caller.user_id);
    let after = record(tx, account, why, &[Changed::from(id, Some(before))], now).await?;
    after.into_iter().next().ok_or(Error::NotFound)
}
