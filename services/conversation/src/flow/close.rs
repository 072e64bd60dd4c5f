//! Closing a conversation.

use diwan_access::User;
use jiff::Timestamp;
use uuid::Uuid;

use super::authority::may_act;
use crate::{
    Error,
    domain::{
        scope::{Facts, Scope},
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

/// Whether he may close what he sees: its holder or who directs him, and with a topic where its team wants one. It binds people: a bot's close
/// does not ask.
///
/// # Errors
/// [`Error::AlreadyClosed`], [`Error::NotHolder`], [`Error::TopicRequired`].
pub fn may_close(scope: &Scope, facts: Facts, (mandatory, topics): (bool, &[Uuid])) -> Result<(), Error> {
    match facts.state {
        State::Closed => Err(Error::AlreadyClosed),
        _ if !may_act(scope, facts) => Err(Error::NotHolder),
        _ if lacks_topic(mandatory, topics) => Err(Error::TopicRequired),
        _ => Ok(()),
    }
}

/// Whether a team that wants a topic of what its people close gets none.
pub fn lacks_topic(mandatory: bool, topics: &[Uuid]) -> bool {
    mandatory && topics.is_empty()
}

/// Closes a conversation for a person, and frees its holder's slot.
pub async fn close(tx: &mut Tx, caller: &User, scope: &Scope, id: Uuid, now: Timestamp) -> Result<Conversation, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    // A topic that goes away meanwhile raises the version, so this close is tried again.
    let mandatory = teams::find(tx, account, before.team).await?.is_some_and(|team| team.topic_mandatory);
    may_close(scope, before, (mandatory, &found.topic_ids))?;
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
