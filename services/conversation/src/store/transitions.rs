//! Reading the transitions of a conversation.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgExecutor;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    Error,
    domain::state::{Cause, State},
};

/// Those of one conversation after a version, oldest first.
pub async fn list(
    executor: impl PgExecutor<'_>,
    account: Uuid,
    conversation: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<proto::Transition>, Error> {
    let rows = sqlx::query!(
        r#"select version, at as "at: SqlTimestamp", cause, actor_id, from_state, to_state, from_holder_id, to_holder_id,
                  team_id, over_limit, bot_id
           from transitions where account_id = $1 and conversation_id = $2 and version > $3 order by version limit $4"#,
        account,
        conversation,
        after,
        limit
    )
    .fetch_all(executor)
    .instrument(diwan_store::span("list transitions"))
    .await?;
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let transition = |row: Row| {
        Ok(proto::Transition {
            version: row.0,
            at: Some(to_proto(row.1.to_jiff())),
            cause: Cause::of_name(&row.2).ok_or(Error::Unknown("cause"))?.to_proto().into(),
            actor_id: id(row.3),
            from_state: row.4.map_or(Ok(0), |name| state(&name))?,
            to_state: state(&row.5)?,
            from_holder_id: id(row.6),
            to_holder_id: id(row.7),
            team_id: row.8.to_string(),
            over_limit: row.9,
            bot_id: id(row.10),
        })
    };
    rows.into_iter()
        .map(|r| {
            (
                r.version,
                r.at,
                r.cause,
                r.actor_id,
                r.from_state,
                r.to_state,
                r.from_holder_id,
                r.to_holder_id,
                r.team_id,
                r.over_limit,
                r.bot_id,
            )
        })
        .map(transition)
        .collect()
}

type Row = (
    i64,
    SqlTimestamp,
    String,
    Option<Uuid>,
    Option<String>,
    String,
    Option<Uuid>,
    Option<Uuid>,
    Uuid,
    bool,
    Option<Uuid>,
);

fn state(name: &str) -> Result<i32, Error> {
    Ok(State::of_name(name).ok_or(Error::Unknown("state"))?.to_proto().into())
}
