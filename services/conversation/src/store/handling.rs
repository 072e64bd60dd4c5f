//! Changes of one conversation beyond taking, answering and closing: put off, more urgent, labelled. Who had the customer last.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, jiff};
use crate::{Error, domain::state::Priority};

/// Puts it off until a time, if it still has this version and a holder. His slot is locked by the caller.
pub async fn snooze(tx: &mut Tx, account: Uuid, (id, version): (Uuid, i64), until: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set state = 'SNOOZED', snoozed_until = $4, version = version + 1
         where account_id = $1 and id = $2 and version = $3 and state in ('OPEN', 'SNOOZED')",
        account,
        id,
        version,
        until.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("snooze conversation"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets its priority, if it still has this version.
pub async fn set_priority(
    tx: &mut Tx,
    account: Uuid,
    (id, version): (Uuid, i64),
    priority: Priority,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set priority = $4, version = version + 1 where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version,
        priority.level()
    )
    .execute(tx)
    .instrument(diwan_store::span("set priority"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets its topics, if it still has this version.
pub async fn set_topics(
    tx: &mut Tx,
    account: Uuid,
    (id, version): (Uuid, i64),
    topics: &[Uuid],
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set topic_ids = $4, version = version + 1 where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version,
        topics
    )
    .execute(tx)
    .instrument(diwan_store::span("set topics"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks conversations, in the lock order.
pub async fn lock(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    sqlx::query!(
        "select id from conversations where account_id = $1 and id = any($2) order by id for no key update",
        account,
        ids
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("lock conversations"))
    .await?;
    Ok(())
}

/// The last conversation of an account by id.
pub async fn newest(tx: &mut Tx, account: Uuid) -> Result<Option<Uuid>, Error> {
    let id =
        sqlx::query_scalar!("select id from conversations where account_id = $1 order by id desc limit 1", account)
            .fetch_optional(tx)
            .instrument(diwan_store::span("find newest conversation"))
            .await?;
    Ok(id)
}

/// The agent whom a contact had last, in whatever team.
pub async fn last_agent(tx: &mut Tx, account: Uuid, contact: Uuid) -> Result<Option<Uuid>, Error> {
    let agent = sqlx::query_scalar!(
        r#"select last_holder_id as "agent!" from conversations
           where account_id = $1 and contact_id = $2 and last_holder_id is not null
           order by assigned_at desc limit 1"#,
        account,
        contact
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("find last agent"))
    .await?;
    Ok(agent)
}

/// Conversations whose time to wake has come, the longest ago first.
pub async fn due(pool: &PgPool, now: Timestamp, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, id from conversations where state = 'SNOOZED' and snoozed_until <= $1
         order by snoozed_until limit $2",
        now.to_sqlx() as _,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find due snoozes"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// When the next conversation of any account wakes.
pub async fn next_due(pool: &PgPool) -> Result<Option<Timestamp>, Error> {
    let next = sqlx::query_scalar!(
        r#"select min(snoozed_until) as "next: SqlTimestamp" from conversations where state = 'SNOOZED'"#
    )
    .fetch_one(pool)
    .instrument(diwan_store::span("find next snooze"))
    .await?;
    Ok(jiff(next))
}
