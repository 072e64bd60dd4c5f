//! Automatic replies outside the working hours.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{Error, domain::automatic_reply::AutomaticReply};

/// What the team of a conversation replies; `None`: nothing.
pub async fn of_team(tx: &mut Tx, account: Uuid, conversation: Uuid) -> Result<Option<AutomaticReply>, Error> {
    let reply = sqlx::query_scalar!(
        r#"select t.automatic_reply as "reply!: Json<AutomaticReply>"
           from conversations c join teams t on t.account_id = c.account_id and t.id = c.team_id
           where c.account_id = $1 and c.id = $2 and t.automatic_reply is not null and t.working_hours is not null"#,
        account,
        conversation
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("read automatic reply"))
    .await?;
    Ok(reply.map(|reply| reply.0))
}

/// An automatic reply that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub conversation: Uuid,
    pub contact: Uuid,
    /// What it tells of.
    pub opens_at: Timestamp,
}

/// Notes a reply, unless its conversation has had one that told of a later time than now, or its contact `most` since `day_ago`. Returns
/// whether it may be sent. The conversation is locked by the caller.
pub async fn note(
    tx: &mut Tx,
    account: Uuid,
    reply: Reply,
    (day_ago, most): (Timestamp, i64),
    now: Timestamp,
) -> Result<bool, Error> {
    // What told of a time that has passed, and is too old to count, is of no use any more.
    sqlx::query!(
        "delete from automatic_replies where account_id = $1 and contact_id = $2 and sent_at <= $3 and opens_at <= $4",
        account,
        reply.contact,
        day_ago.to_sqlx() as _,
        now.to_sqlx() as _
    )
    .execute(&mut *tx)
    .instrument(diwan_store::span("forget automatic replies"))
    .await?;
    let done = sqlx::query!(
        "insert into automatic_replies (account_id, conversation_id, opens_at, contact_id, sent_at)
         select $1, $2, $3, $4, $5
         where not exists (select from automatic_replies where account_id = $1 and conversation_id = $2 and opens_at > $5)
           and (select count(*) from automatic_replies where account_id = $1 and contact_id = $4 and sent_at > $6) < $7",
        account,
        reply.conversation,
        reply.opens_at.to_sqlx() as _,
        reply.contact,
        now.to_sqlx() as _,
        day_ago.to_sqlx() as _,
        most
    )
    .execute(tx)
    .instrument(diwan_store::span("note automatic reply"))
    .await?;
    Ok(done.rows_affected() == 1)
}
