//! Topics.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, jiff};
use crate::Error;

/// A topic as it is stored.
#[derive(Clone, Debug)]
pub struct Topic {
    pub id: Uuid,
    pub parent_id: Option<Uuid>,
    pub name: String,
    pub archived_at: Option<SqlTimestamp>,
    pub version: i64,
    pub created_at: SqlTimestamp,
}

impl Topic {
    /// As the protocol shows it.
    pub fn to_proto(&self) -> proto::Topic {
        proto::Topic {
            id: self.id.to_string(),
            name: self.name.clone(),
            parent_id: self.parent_id.map(|id| id.to_string()).unwrap_or_default(),
            archived_at: jiff(self.archived_at).map(to_proto),
            version: self.version,
            created_at: Some(to_proto(self.created_at.to_jiff())),
        }
    }
}

/// Locks the tree of an account: changes of it are made one after the other.
pub async fn lock_tree(tx: &mut Tx, account: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "insert into topic_trees as known (account_id) values ($1)
         on conflict (account_id) do update set account_id = known.account_id",
        account
    )
    .execute(tx)
    .instrument(diwan_store::span("lock topic tree"))
    .await?;
    Ok(())
}

/// One topic, an archived one too.
pub async fn find(executor: impl PgExecutor<'_>, account: Uuid, id: Uuid) -> Result<Option<Topic>, Error> {
    let found = sqlx::query_as!(
        Topic,
        r#"select id, parent_id, name, archived_at as "archived_at: SqlTimestamp", version,
                  created_at as "created_at: SqlTimestamp"
           from topics where account_id = $1 and id = $2"#,
        account,
        id
    )
    .fetch_optional(executor)
    .instrument(diwan_store::span("find topic"))
    .await?;
    Ok(found)
}

/// Those that there are of the given ones, and whether each is archived. They stay so until the end of the transaction.
pub async fn share(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<Vec<(Uuid, bool)>, Error> {
    let rows = sqlx::query!(
        r#"select id, archived_at is not null as "archived!" from topics
           where account_id = $1 and id = any($2) order by id for share"#,
        account,
        ids
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("share topics"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.archived)).collect())
}

/// Topics after one, by id.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    archived: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Topic>, Error> {
    let rows = sqlx::query_as!(
        Topic,
        r#"select id, parent_id, name, archived_at as "archived_at: SqlTimestamp", version,
                  created_at as "created_at: SqlTimestamp"
           from topics where account_id = $1 and ($2 or archived_at is null) and ($3::uuid is null or id > $3)
           order by id limit $4"#,
        account,
        archived,
        after,
        limit
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list topics"))
    .await?;
    Ok(rows)
}

/// Whether another topic in use has this name below this parent. The tree is locked.
pub async fn name_taken(
    tx: &mut Tx,
    account: Uuid,
    id: Uuid,
    (parent, name_key): (Option<Uuid>, &str),
) -> Result<bool, Error> {
    let taken = sqlx::query_scalar!(
        r#"select exists (select from topics
                          where account_id = $1 and id <> $2 and parent_id is not distinct from $3 and name_key = $4
                            and archived_at is null) as "taken!""#,
        account,
        id,
        parent,
        name_key
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("look for topic name"))
    .await?;
    Ok(taken)
}

/// Whether `id` is `top` or lies below it. The tree is locked.
pub async fn is_within(tx: &mut Tx, account: Uuid, id: Uuid, top: Uuid) -> Result<bool, Error> {
    let within = sqlx::query_scalar!(
        r#"with recursive above as (
               select id, parent_id from topics where account_id = $1 and id = $2
               union
               select t.id, t.parent_id from topics t join above a on t.id = a.parent_id where t.account_id = $1)
           select exists (select from above where id = $3) as "within!""#,
        account,
        id,
        top
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("look above topic"))
    .await?;
    Ok(within)
}

/// Stores a new topic.
pub async fn insert(tx: &mut Tx, account: Uuid, topic: &Topic, name_key: &str) -> Result<(), Error> {
    sqlx::query!(
        "insert into topics (account_id, id, parent_id, name, name_key, version, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        account,
        topic.id,
        topic.parent_id,
        topic.name,
        name_key,
        topic.version,
        topic.created_at as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert topic"))
    .await?;
    Ok(())
}

/// Writes name, parent and whether it is archived, with the next version. The tree is locked.
pub async fn save(tx: &mut Tx, account: Uuid, topic: &Topic, name_key: &str) -> Result<(), Error> {
    sqlx::query!(
        "update topics set parent_id = $3, name = $4, name_key = $5, archived_at = $6, version = $7
         where account_id = $1 and id = $2",
        account,
        topic.id,
        topic.parent_id,
        topic.name,
        name_key,
        topic.archived_at as _,
        topic.version
    )
    .execute(tx)
    .instrument(diwan_store::span("save topic"))
    .await?;
    Ok(())
}

/// Archives a topic and all below it, and returns those that were in use. The tree is locked.
pub async fn archive(tx: &mut Tx, account: Uuid, top: Uuid, now: Timestamp) -> Result<Vec<Topic>, Error> {
    let archived = sqlx::query_as!(
        Topic,
        r#"with recursive below as (
               select id from topics where account_id = $1 and id = $2
               union
               select t.id from topics t join below b on t.parent_id = b.id where t.account_id = $1),
           locked as (
               select t.id from topics t where t.account_id = $1 and t.archived_at is null and t.id in (select id from below)
               order by t.id for no key update)
           update topics t set archived_at = $3, version = t.version + 1
           from locked where t.account_id = $1 and t.id = locked.id
           returning t.id, t.parent_id, t.name, t.archived_at as "archived_at: SqlTimestamp", t.version,
                     t.created_at as "created_at: SqlTimestamp""#,
        account,
        top,
        now.to_sqlx() as _
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("archive topics"))
    .await?;
    Ok(archived)
}
