//! Groups of contacts. Invariant: a contact names no group that there is not: whoever puts him into one holds the group's row.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{PgExecutor, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// A group as it is stored.
#[derive(Clone, Debug)]
pub struct Group {
    pub id: Uuid,
    pub name: String,
    pub version: i64,
    pub created_at: SqlTimestamp,
}

impl Group {
    /// As the protocol shows it.
    pub fn to_proto(&self) -> proto::ContactGroup {
        proto::ContactGroup {
            id: self.id.to_string(),
            name: self.name.clone(),
            version: self.version,
            created_at: Some(to_proto(self.created_at.to_jiff())),
        }
    }
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    pub country: Option<String>,
    pub group_ids: Vec<Uuid>,
}

/// Stores a group. `false`: its name is taken.
pub async fn insert(tx: &mut Tx, account: Uuid, group: &Group, name_key: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        "insert into contact_groups (account_id, id, name, name_key, version, created_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (account_id, name_key) do nothing",
        account,
        group.id,
        group.name,
        name_key,
        group.version,
        group.created_at as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert contact group"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many there are.
pub async fn count(tx: &mut Tx, account: Uuid) -> Result<i64, Error> {
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from contact_groups where account_id = $1"#, account)
            .fetch_one(tx)
            .instrument(diwan_store::span("count contact groups"))
            .await?;
    Ok(count)
}

/// One group, which nobody else changes until this transaction ends, and into which nobody is put meanwhile.
pub async fn lock(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Group>, Error> {
    let found = sqlx::query_as!(
        Group,
        r#"select id, name, version, created_at as "created_at: SqlTimestamp" from contact_groups
           where account_id = $1 and id = $2 for update"#,
        account,
        id
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("lock contact group"))
    .await?;
    Ok(found)
}

/// How many of these there are. They stay until this transaction ends.
pub async fn share(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<usize, Error> {
    if ids.is_empty() {
        return Ok(0);
    }
    let found = sqlx::query_scalar!(
        "select id from contact_groups where account_id = $1 and id = any($2) order by id for share",
        account,
        ids
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("share contact groups"))
    .await?;
    Ok(found.len())
}

/// Whether there is one of this id.
pub async fn exists(executor: impl PgExecutor<'_>, account: Uuid, id: Uuid) -> Result<bool, Error> {
    let found = sqlx::query!("select from contact_groups where account_id = $1 and id = $2", account, id)
        .fetch_optional(executor)
        .instrument(diwan_store::span("find contact group"))
        .await?;
    Ok(found.is_some())
}

/// All of an account, by their names.
pub async fn list(pool: &PgPool, account: Uuid) -> Result<Vec<Group>, Error> {
    let found = sqlx::query_as!(
        Group,
        r#"select id, name, version, created_at as "created_at: SqlTimestamp" from contact_groups
           where account_id = $1 order by name_key"#,
        account
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list contact groups"))
    .await?;
    Ok(found)
}

/// Whether another group has this name.
pub async fn name_taken(tx: &mut Tx, account: Uuid, id: Uuid, name_key: &str) -> Result<bool, Error> {
    let found = sqlx::query!(
        "select from contact_groups where account_id = $1 and name_key = $2 and id <> $3",
        account,
        name_key,
        id
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("find name of contact group"))
    .await?;
    Ok(found.is_some())
}

/// Gives a group, which is locked, another name.
pub async fn rename(tx: &mut Tx, account: Uuid, group: &Group, name_key: &str) -> Result<(), Error> {
    sqlx::query!(
        "update contact_groups set name = $3, name_key = $4, version = $5 where account_id = $1 and id = $2",
        account,
        group.id,
        group.name,
        name_key,
        group.version
    )
    .execute(tx)
    .instrument(diwan_store::span("rename contact group"))
    .await?;
    Ok(())
}

/// Whether a routing rule asks for a group, which is locked: nobody makes such a rule meanwhile.
pub async fn in_use(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<bool, Error> {
    let found = sqlx::query!(
        "select from routing_rules where account_id = $1 and conditions->'groups' ? $2 limit 1",
        account,
        id.to_string()
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("find rule of contact group"))
    .await?;
    Ok(found.is_some())
}

/// Removes a group, which is locked, and takes it from its members.
pub async fn delete(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "with members as (
             select id from contacts where account_id = $1 and group_ids @> array[$2::uuid] order by id for no key update)
         update contacts c set group_ids = array_remove(c.group_ids, $2)
         from members where c.account_id = $1 and c.id = members.id",
        account,
        id
    )
    .execute(&mut *tx)
    .instrument(diwan_store::span("take contact group from members"))
    .await?;
    sqlx::query!("delete from contact_groups where account_id = $1 and id = $2", account, id)
        .execute(tx)
        .instrument(diwan_store::span("delete contact group"))
        .await?;
    Ok(())
}

/// The groups that a contact is in. It is nobody else's to change until this transaction ends.
pub async fn lock_contact(tx: &mut Tx, account: Uuid, contact: Uuid) -> Result<Option<Vec<Uuid>>, Error> {
    let found = sqlx::query_scalar!(
        "select group_ids from contacts where account_id = $1 and id = $2 for no key update",
        account,
        contact
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("lock contact"))
    .await?;
    Ok(found)
}

/// The groups that a contact is in.
pub async fn of_contact(tx: &mut Tx, account: Uuid, contact: Uuid) -> Result<Vec<Uuid>, Error> {
    let found =
        sqlx::query_scalar!("select group_ids from contacts where account_id = $1 and id = $2", account, contact)
            .fetch_optional(tx)
            .instrument(diwan_store::span("read groups of contact"))
            .await?;
    Ok(found.unwrap_or_default())
}

/// Sets the groups of a contact, who is locked.
pub async fn set(tx: &mut Tx, account: Uuid, contact: Uuid, groups: &[Uuid]) -> Result<(), Error> {
    sqlx::query!("update contacts set group_ids = $3 where account_id = $1 and id = $2", account, contact, groups)
        .execute(tx)
        .instrument(diwan_store::span("set groups of contact"))
        .await?;
    Ok(())
}

/// Members of a group after one, by their ids.
pub async fn members(
    pool: &PgPool,
    account: Uuid,
    group: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Member>, Error> {
    let found = sqlx::query_as!(
        Member,
        "select id, name, email, country, group_ids from contacts
         where account_id = $1 and group_ids @> array[$2::uuid] and ($3::uuid is null or id > $3) order by id limit $4",
        account,
        group,
        after,
        limit
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list members of contact group"))
    .await?;
    Ok(found)
}
