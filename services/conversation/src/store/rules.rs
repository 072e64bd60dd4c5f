//! The routing rules, and what they led to.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{
    Error,
    domain::{
        rules::{Channel, Conditions, Enquiry, Rule, Via},
        state::Priority,
    },
};

/// A rule as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: Uuid,
    pub position: i32,
    pub name: String,
    pub conditions: Json<Conditions>,
    pub team_id: Uuid,
    pub priority: Option<i16>,
    pub add_topic_ids: Vec<Uuid>,
    pub bot_id: Option<Uuid>,
    pub version: i64,
    pub created_at: SqlTimestamp,
}

impl Stored {
    /// As the matcher takes it.
    pub fn rule(self) -> Rule {
        Rule {
            id: self.id,
            conditions: self.conditions.0,
            team: self.team_id,
            priority: self.priority.and_then(Priority::of_level),
            add_topics: self.add_topic_ids,
            bot: self.bot_id,
            version: self.version,
        }
    }

    /// As the protocol shows it.
    pub fn to_proto(&self) -> proto::RoutingRule {
        let ids = |ids: &[Uuid]| ids.iter().map(ToString::to_string).collect();
        let conditions = &self.conditions.0;
        let channel = |channel: &Channel| match channel {
            Channel::Email => proto::Channel::Email.into(),
        };
        proto::RoutingRule {
            id: self.id.to_string(),
            name: self.name.clone(),
            conditions: Some(proto::RoutingConditions {
                topic_ids: ids(&conditions.topics),
                countries: conditions.countries.clone(),
                mailbox_ids: ids(&conditions.mailboxes),
                channels: conditions.channels.iter().map(channel).collect(),
                keywords: conditions.keywords.clone(),
                languages: conditions.languages.clone(),
                contact_group_ids: ids(&conditions.groups),
            }),
            team_id: self.team_id.to_string(),
            priority: self.priority.and_then(Priority::of_level).map_or(0, |priority| priority.to_proto().into()),
            add_topic_ids: ids(&self.add_topic_ids),
            version: self.version,
            created_at: Some(to_proto(self.created_at.to_jiff())),
            bot_id: self.bot_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

/// Locks the list of an account: changes of it are made one after the other.
pub async fn lock_list(tx: &mut Tx, account: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "insert into routing_lists as known (account_id) values ($1)
         on conflict (account_id) do update set account_id = known.account_id",
        account
    )
    .execute(tx)
    .instrument(diwan_store::span("lock routing list"))
    .await?;
    Ok(())
}

/// The whole list in its order. One statement, so it is the list before a change or after it.
pub async fn list(executor: impl PgExecutor<'_>, account: Uuid) -> Result<Vec<Stored>, Error> {
    let rows = sqlx::query_as!(
        Stored,
        r#"select id, position, name, conditions as "conditions: Json<Conditions>", team_id, priority, add_topic_ids, bot_id, version,
                  created_at as "created_at: SqlTimestamp"
           from routing_rules where account_id = $1 order by position"#,
        account
    )
    .fetch_all(executor)
    .instrument(diwan_store::span("list routing rules"))
    .await?;
    Ok(rows)
}

/// One rule.
pub async fn find(executor: impl PgExecutor<'_>, account: Uuid, id: Uuid) -> Result<Option<Stored>, Error> {
    let row = sqlx::query_as!(
        Stored,
        r#"select id, position, name, conditions as "conditions: Json<Conditions>", team_id, priority, add_topic_ids, bot_id, version,
                  created_at as "created_at: SqlTimestamp"
           from routing_rules where account_id = $1 and id = $2"#,
        account,
        id
    )
    .fetch_optional(executor)
    .instrument(diwan_store::span("find routing rule"))
    .await?;
    Ok(row)
}

/// Stores a rule, new or in place of what it said. The list is locked.
pub async fn save(tx: &mut Tx, account: Uuid, rule: &Stored) -> Result<(), Error> {
    sqlx::query!(
        "insert into routing_rules (account_id, id, position, name, conditions, team_id, priority, add_topic_ids, version, created_at,
                                    bot_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (account_id, id) do update set name = excluded.name, conditions = excluded.conditions,
             team_id = excluded.team_id, priority = excluded.priority, add_topic_ids = excluded.add_topic_ids,
             bot_id = excluded.bot_id, version = excluded.version",
        account,
        rule.id,
        rule.position,
        rule.name,
        &rule.conditions as _,
        rule.team_id,
        rule.priority,
        &rule.add_topic_ids,
        rule.version,
        rule.created_at as _,
        rule.bot_id
    )
    .execute(tx)
    .instrument(diwan_store::span("save routing rule"))
    .await?;
    Ok(())
}

/// Removes a rule. The list is locked.
pub async fn delete(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from routing_rules where account_id = $1 and id = $2", account, id)
        .execute(tx)
        .instrument(diwan_store::span("delete routing rule"))
        .await?;
    Ok(())
}

/// Puts the rules into this order. The list is locked.
pub async fn reorder(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    sqlx::query!(
        "update routing_rules r set position = o.place
         from unnest($2::uuid[]) with ordinality as o (id, place) where r.account_id = $1 and r.id = o.id",
        account,
        ids
    )
    .execute(tx)
    .instrument(diwan_store::span("reorder routing rules"))
    .await?;
    Ok(())
}

/// Has the rules that name an archived team name the one that receives, and returns them. The archived team's row is locked: nobody
/// can name it meanwhile ([`share_active`]).
pub async fn redirect(tx: &mut Tx, account: Uuid, archived: Uuid, receiving: Uuid) -> Result<Vec<Stored>, Error> {
    let rows = sqlx::query_as!(
        Stored,
        r#"update routing_rules set team_id = $3, version = version + 1 where account_id = $1 and team_id = $2
           returning id, position, name, conditions as "conditions: Json<Conditions>", team_id, priority, add_topic_ids, bot_id, version,
                     created_at as "created_at: SqlTimestamp""#,
        account,
        archived,
        receiving
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("redirect routing rules"))
    .await?;
    Ok(rows)
}

/// Has the rules that name a bot name none, and returns them. The list is locked.
pub async fn without_bot(tx: &mut Tx, account: Uuid, bot: Uuid) -> Result<Vec<Stored>, Error> {
    let rows = sqlx::query_as!(
        Stored,
        r#"update routing_rules set bot_id = null, version = version + 1 where account_id = $1 and bot_id = $2
           returning id, position, name, conditions as "conditions: Json<Conditions>", team_id, priority, add_topic_ids, bot_id, version,
                     created_at as "created_at: SqlTimestamp""#,
        account,
        bot
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("take bot from routing rules"))
    .await?;
    Ok(rows)
}

/// Keeps a team from being archived until this transaction ends. `false`: there is no such active team.
pub async fn share_active(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<bool, Error> {
    let found = sqlx::query!(
        "select from teams where account_id = $1 and id = $2 and receiving_id is null for share",
        account,
        team
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("share team of rule"))
    .await?;
    Ok(found.is_some())
}

/// The account's fallback team.
pub async fn fallback(tx: &mut Tx, account: Uuid) -> Result<Option<Uuid>, Error> {
    let found =
        sqlx::query_scalar!("select id from teams where account_id = $1 and fallback order by id limit 1", account)
            .fetch_optional(tx)
            .instrument(diwan_store::span("find fallback team"))
            .await?;
    Ok(found)
}

/// Keeps what led a conversation to its team, by the version of it that this led to.
pub async fn keep(
    tx: &mut Tx,
    account: Uuid,
    (conversation, version): (Uuid, i64),
    (team, via): (Uuid, Via),
    enquiry: &Enquiry,
    now: Timestamp,
) -> Result<(), Error> {
    let (via, rule) = match via {
        Via::Rule(id, version) => ("RULE", Some((id, version))),
        Via::Mailbox => ("MAILBOX", None),
        Via::Fallback => ("FALLBACK", None),
    };
    let (rule, rule_version) = rule.unzip();
    sqlx::query!(
        "insert into routings (account_id, conversation_id, version, at, via, rule_id, rule_version, team_id, facts)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        account,
        conversation,
        version,
        now.to_sqlx() as _,
        via,
        rule,
        rule_version,
        team,
        Json(enquiry) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("keep routing"))
    .await?;
    Ok(())
}
