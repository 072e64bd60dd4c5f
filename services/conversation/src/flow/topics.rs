//! The tree of topics. Invariant: it has no cycle, and no two topics in use with one parent have one name. Every change of it locks the
//! account's tree first, so each is checked against the tree that it changes.

use diwan_feed::Change;
use diwan_proto::conversation::v1::TopicChanged;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use crate::{
    Error,
    store::{
        Tx,
        topics::{self, Topic},
    },
};

/// Makes a topic.
pub async fn create(
    tx: &mut Tx,
    account: Uuid,
    name: &str,
    parent: Option<Uuid>,
    now: Timestamp,
) -> Result<Topic, Error> {
    topics::lock_tree(tx, account).await?;
    require_in_use(tx, account, parent).await?;
    let topic = Topic {
        id: ids::new_id(),
        parent_id: parent,
        name: name.to_owned(),
        archived_at: None,
        version: 1,
        created_at: now.to_sqlx(),
    };
    require_name(tx, account, &topic).await?;
    topics::insert(tx, account, &topic, &name_key(name)).await?;
    announce(tx, account, &[&topic], now).await?;
    Ok(topic)
}

/// Gives it another name.
pub async fn rename(tx: &mut Tx, account: Uuid, id: Uuid, name: &str, now: Timestamp) -> Result<Topic, Error> {
    let topic = lock(tx, account, id).await?;
    save(tx, account, Topic { name: name.to_owned(), ..topic }, now).await
}

/// Puts it below another topic or at the top.
pub async fn place(tx: &mut Tx, account: Uuid, id: Uuid, parent: Option<Uuid>, now: Timestamp) -> Result<Topic, Error> {
    let topic = lock(tx, account, id).await?;
    require_in_use(tx, account, parent).await?;
    if let Some(parent) = parent
        && topics::is_within(tx, account, parent, id).await?
    {
        return Err(Error::TopicCycle);
    }
    save(tx, account, Topic { parent_id: parent, ..topic }, now).await
}

/// Archives it and all below it.
pub async fn archive(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Topic, Error> {
    lock(tx, account, id).await?;
    let archived = topics::archive(tx, account, id, now).await?;
    announce(tx, account, &archived.iter().collect::<Vec<_>>(), now).await?;
    topics::find(tx, account, id).await?.ok_or(Error::TopicNotFound)
}

/// Takes it back into use.
pub async fn unarchive(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Topic, Error> {
    let topic = lock(tx, account, id).await?;
    if topic.archived_at.is_none() {
        return Ok(topic);
    }
    require_in_use(tx, account, topic.parent_id).await?;
    save(tx, account, Topic { archived_at: None, ..topic }, now).await
}

async fn lock(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Topic, Error> {
    topics::lock_tree(tx, account).await?;
    topics::find(tx, account, id).await?.ok_or(Error::TopicNotFound)
}

async fn save(tx: &mut Tx, account: Uuid, topic: Topic, now: Timestamp) -> Result<Topic, Error> {
    let topic = Topic { version: topic.version + 1, ..topic };
    require_name(tx, account, &topic).await?;
    topics::save(tx, account, &topic, &name_key(&topic.name)).await?;
    announce(tx, account, &[&topic], now).await?;
    Ok(topic)
}

async fn require_in_use(tx: &mut Tx, account: Uuid, parent: Option<Uuid>) -> Result<(), Error> {
    let Some(parent) = parent else { return Ok(()) };
    match topics::find(tx, account, parent).await? {
        None => Err(Error::TopicNotFound),
        Some(parent) if parent.archived_at.is_some() => Err(Error::TopicArchived),
        Some(_) => Ok(()),
    }
}

async fn require_name(tx: &mut Tx, account: Uuid, topic: &Topic) -> Result<(), Error> {
    let place = (topic.parent_id, name_key(&topic.name));
    let taken = topic.archived_at.is_none() && topics::name_taken(tx, account, topic.id, (place.0, &place.1)).await?;
    if taken { Err(Error::TopicNameTaken) } else { Ok(()) }
}

async fn announce(tx: &mut Tx, account: Uuid, topics: &[&Topic], now: Timestamp) -> Result<(), Error> {
    let event = |topic: &&Topic| {
        let payload = TopicChanged { account_id: account.to_string(), topic: Some(topic.to_proto()) };
        Change::new(topic.id, topic.version, &payload)
    };
    let events: Vec<_> = topics.iter().map(event).collect();
    Ok(diwan_feed::append(tx, account, now, &events).await?)
}

/// A name as it is compared: without the case of its letters.
fn name_key(name: &str) -> String {
    name.to_lowercase()
}
