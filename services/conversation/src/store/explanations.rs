//! What is kept of why a conversation went where it went.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use prost::Message as _;
use serde::Deserialize;
use sqlx::types::Json;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{
    Error,
    domain::{
        ledger::{Entry, Kind},
        rules::{Channel, Via},
    },
};

/// A decision in the ledger.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The decision.
    pub id: Uuid,
    /// The team.
    pub team: Uuid,
    /// The version of its settings.
    pub team_version: i64,
    /// When.
    pub at: Timestamp,
    /// What it was about.
    pub kind: Kind,
    /// Everything that it was made from.
    pub entry: Entry,
}

/// The last transitions of a conversation, the latest first: each one's version and the decision behind it.
pub async fn behind(
    tx: &mut Tx,
    account: Uuid,
    conversation: Uuid,
    most: i64,
) -> Result<Vec<(i64, Option<Uuid>)>, Error> {
    let rows = sqlx::query!(
        "select version, decision_id from transitions where account_id = $1 and conversation_id = $2
         order by version desc limit $3",
        account,
        conversation,
        most
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read decisions behind transitions"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.version, row.decision_id)).collect())
}

/// Those of the decisions that are still kept.
pub async fn decisions(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<HashMap<Uuid, Kept>, Error> {
    let rows = sqlx::query!(
        r#"select id, team_id, team_version, decided_at as "at: SqlTimestamp", kind, ledger from decisions
           where account_id = $1 and id = any($2)"#,
        account,
        ids
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read decisions"))
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = Kind::of_name(&row.kind).ok_or(Error::Unknown("kind of decision"))?;
            let entry = Entry::decode(row.ledger.as_slice())?;
            let (id, at) = (row.id, row.at.to_jiff());
            Ok((id, Kept { id, team: row.team_id, team_version: row.team_version, at, kind, entry }))
        })
        .collect()
}

/// By what a conversation got to its team.
#[derive(Clone, Debug)]
pub struct Origin {
    /// By what.
    pub via: Via,
    /// The team.
    pub team: Uuid,
    /// What the rule is called, and its version now; `None`: there was none, or it is gone.
    pub rule: Option<(String, i64)>,
    /// What the conditions looked at.
    pub facts: Facts,
}

/// What is kept of an enquiry.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// What it was about.
    pub topics: Vec<Uuid>,
    /// Of the contact.
    pub country: Option<String>,
    /// The contact's groups.
    #[serde(default)]
    pub groups: Vec<Uuid>,
    /// By which it came in.
    pub mailbox: Option<Uuid>,
    /// By what it came in.
    pub channel: Channel,
    /// Of its first message.
    pub language: Option<String>,
}

/// What led a conversation to its teams, by the version of it that each led to.
pub async fn origins(tx: &mut Tx, account: Uuid, conversation: Uuid) -> Result<HashMap<i64, Origin>, Error> {
    let rows = sqlx::query!(
        r#"select o.version, o.via, o.rule_id, o.rule_version, o.team_id, o.facts as "facts: Json<Facts>",
                  r.name as "name?", r.version as "current?"
           from routings o left join routing_rules r on r.account_id = o.account_id and r.id = o.rule_id
           where o.account_id = $1 and o.conversation_id = $2"#,
        account,
        conversation
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read routings"))
    .await?;
    rows.into_iter()
        .map(|row| {
            let via = match (row.via.as_str(), row.rule_id.zip(row.rule_version)) {
                ("RULE", Some((rule, version))) => Via::Rule(rule, version),
                ("MAILBOX", _) => Via::Mailbox,
                ("FALLBACK", _) => Via::Fallback,
                _ => return Err(Error::Unknown("way to a team")),
            };
            let rule = row.name.zip(row.current);
            Ok((row.version, Origin { via, team: row.team_id, rule, facts: row.facts.0 }))
        })
        .collect()
}
