//! What a conversation is about, and how urgent it is.

use diwan_access::User;
use jiff::Timestamp;
use uuid::Uuid;

use super::{authority::may_label, close::lacks_topic};
use crate::{
    Error,
    domain::{
        scope::Scope,
        state::{Cause, Priority, State},
    },
    store::{
        Tx,
        conversations::{self, Conversation},
        handling, history, lost_race,
        record::{Changed, Why, record},
        teams, topics,
    },
};

/// Sets its priority. A decision of the routing that saw another one claims nothing, since the version rises.
pub async fn set_priority(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    id: Uuid,
    priority: Priority,
    now: Timestamp,
) -> Result<Conversation, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    if before.state == State::Closed {
        return Err(Error::AlreadyClosed);
    }
    if !may_label(scope, before) {
        return Err(Error::NotHolder);
    }
    if found.priority()? == priority {
        return Ok(found);
    }
    if !handling::set_priority(tx, account, (id, found.version), priority).await? {
        return Err(lost_race(tx).await);
    }
    history::priority(tx, account, (before.team, id), (found.priority()?, priority), now).await?;
    let why = Why::by(Cause::Priority, caller.user_id);
    let after = record(tx, account, why, &[Changed::from(id, Some(before))], now).await?;
    after.into_iter().next().ok_or(Error::NotFound)
}

/// Sets its topics, given in the order of their ids. Those that it has already may be archived meanwhile.
pub async fn set_topics(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    id: Uuid,
    wanted: &[Uuid],
    now: Timestamp,
) -> Result<Conversation, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    let before = found.facts()?;
    if !may_label(scope, before) {
        return Err(Error::NotHolder);
    }
    let known = topics::share(tx, account, wanted).await?;
    if known.len() != wanted.len() {
        return Err(Error::TopicNotFound);
    }
    if known.iter().any(|(topic, archived)| *archived && !found.topic_ids.contains(topic)) {
        return Err(Error::TopicArchived);
    }
    if before.state == State::Closed {
        let mandatory = teams::find(tx, account, before.team).await?.is_some_and(|team| team.topic_mandatory);
        if lacks_topic(mandatory, wanted) {
            return Err(Error::TopicRequired);
        }
    }
    if !handling::set_topics(tx, account, (id, found.version), wanted).await? {
        return Err(lost_race(tx).await);
    }
    let why = Why::by(Cause::Topics, caller.user_id);
    let after = record(tx, account, why, &[Changed::from(id, Some(before))], now).await?;
    after.into_iter().next().ok_or(Error::NotFound)
}
