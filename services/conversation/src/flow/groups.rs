//! Groups of contacts. Whoever puts a contact into a group, or a group into a routing rule, holds the group's row first: its removal waits,
//! and then finds the contact and the rule.

use diwan_feed::Change;
use diwan_proto::conversation::v1::ContactGroupChanged;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use crate::{
    Error,
    store::{
        Tx,
        groups::{self, Group},
        rules,
    },
};

/// The most groups of an account.
pub const MOST: i64 = 500;
/// The most groups that a contact is in: each conversation of his shows them.
const MOST_OF_CONTACT: usize = 50;

/// Makes a group. The list of rules is locked, so that the groups are counted one after the other.
pub async fn create(tx: &mut Tx, account: Uuid, name: &str, now: Timestamp) -> Result<Group, Error> {
    rules::lock_list(tx, account).await?;
    if groups::count(tx, account).await? >= MOST {
        return Err(Error::TooManyGroups);
    }
    let group = Group { id: ids::new_id(), name: name.to_owned(), version: 1, created_at: now.to_sqlx() };
    if !groups::insert(tx, account, &group, &key(name)).await? {
        return Err(Error::GroupNameTaken);
    }
    announce(tx, account, &group, false, now).await?;
    Ok(group)
}

/// Gives it another name. The list of rules is locked, so that of two changes of names one sees the other.
pub async fn rename(tx: &mut Tx, account: Uuid, id: Uuid, name: &str, now: Timestamp) -> Result<Group, Error> {
    let known = groups::lock(tx, account, id).await?.ok_or(Error::GroupNotFound)?;
    rules::lock_list(tx, account).await?;
    if groups::name_taken(tx, account, id, &key(name)).await? {
        return Err(Error::GroupNameTaken);
    }
    let group = Group { name: name.to_owned(), version: known.version + 1, ..known };
    groups::rename(tx, account, &group, &key(name)).await?;
    announce(tx, account, &group, false, now).await?;
    Ok(group)
}

/// Removes it.
pub async fn delete(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    let known = groups::lock(tx, account, id).await?.ok_or(Error::GroupNotFound)?;
    if groups::in_use(tx, account, id).await? {
        return Err(Error::GroupInUse);
    }
    groups::delete(tx, account, id).await?;
    announce(tx, account, &Group { version: known.version + 1, ..known }, true, now).await
}

/// Puts a contact into a group, or takes him out.
pub async fn set_member(tx: &mut Tx, account: Uuid, (group, contact): (Uuid, Uuid), member: bool) -> Result<(), Error> {
    if groups::share(tx, account, &[group]).await? == 0 {
        return Err(Error::GroupNotFound);
    }
    let mut now_in = groups::lock_contact(tx, account, contact).await?.ok_or(Error::ContactNotFound)?;
    if now_in.contains(&group) == member {
        return Ok(());
    }
    if member && now_in.len() >= MOST_OF_CONTACT {
        return Err(Error::TooManyGroups);
    }
    now_in.retain(|known| *known != group);
    if member {
        now_in.push(group);
        now_in.sort_unstable();
    }
    groups::set(tx, account, contact, &now_in).await
}

/// A name as it is compared.
fn key(name: &str) -> String {
    name.to_lowercase()
}

async fn announce(tx: &mut Tx, account: Uuid, group: &Group, removed: bool, now: Timestamp) -> Result<(), Error> {
    let payload = ContactGroupChanged { account_id: account.to_string(), group: Some(group.to_proto()), removed };
    Ok(diwan_feed::append(tx, account, now, &[Change::new(group.id, group.version, &payload)]).await?)
}
