//! The rules about decisions. What the ledger holds is read here, not in SQL: see domain::ledger.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use prost::Message as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Row;
use crate::{Error, domain::ledger::Entry, store::Tx};

/// What matters here of a decision.
struct Made {
    limit: Option<i32>,
    /// Conversations, and who got them.
    given: Vec<(Uuid, Uuid)>,
}

/// Every decision that is kept. One that cannot be read gave nothing.
async fn made(tx: &mut Tx, account: Uuid) -> Result<HashMap<Uuid, Made>, Error> {
    let mut rows = sqlx::query!("select id, ledger from decisions where account_id = $1", account).fetch(tx);
    let mut made = HashMap::new();
    while let Some(row) = rows.try_next().instrument(diwan_store::span("read decisions")).await? {
        let entry = Entry::decode(row.ledger.as_slice()).unwrap_or_default();
        made.insert(row.id, Made { limit: entry.limit(), given: entry.given().unwrap_or_default() });
    }
    Ok(made)
}

/// What somebody holds by decisions was below a limit each time when one of them was made, so all that is left of it is at most the
/// highest of these limits. Decisions that are no longer kept say nothing.
pub async fn over_limit(tx: &mut Tx, account: Uuid) -> Result<Vec<Row>, Error> {
    let made = made(tx, account).await?;
    let held = sqlx::query!(
        r#"select last.team_id as "team!", last.to_holder_id as "user!", array_agg(last.decision_id) as "decisions!: Vec<Uuid>"
           from (select distinct on (conversation_id) * from transitions
                 where account_id = $1 order by conversation_id, version desc) last
           where last.to_state = 'OPEN' and last.decision_id is not null and last.to_holder_id is not null and not last.over_limit
           group by last.team_id, last.to_holder_id"#,
        account
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("check limits"))
    .await?;
    let rows = held.into_iter().filter_map(|held| {
        let limits = held.decisions.iter().map(|id| made.get(id).and_then(|made| made.limit));
        let most = limits.collect::<Option<Vec<i32>>>()?.into_iter().max()?;
        let count = held.decisions.len();
        (i32::try_from(count).is_ok_and(|count| count > most)).then(|| Row {
            conversation: None,
            team: Some(held.team),
            user: Some(held.user),
            message: None,
            found: count.to_string(),
            expected: format!("at most {most}"),
            total: 0,
        })
    });
    Ok(counted(rows.collect()))
}

/// What is younger than the oldest decision that is kept of its team has not been deleted for its age.
pub async fn decisions(tx: &mut Tx, account: Uuid) -> Result<Vec<Row>, Error> {
    let made = made(tx, account).await?;
    let transitions = sqlx::query!(
        r#"select t.conversation_id, t.team_id, t.to_holder_id as "user!", t.decision_id,
                  coalesce(t.at >= oldest.at, false) as "kept!"
           from transitions t
           left join (select team_id, min(decided_at) as at from decisions where account_id = $1 group by team_id) oldest
               on oldest.team_id = t.team_id
           where t.account_id = $1 and t.to_state = 'OPEN' and t.to_holder_id is not null
             and (t.cause = 'AUTOMATIC' or t.decision_id is not null)
           order by t.conversation_id, t.version"#,
        account
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("check decisions"))
    .await?;
    let rows = transitions.into_iter().filter_map(|given| {
        let found = match given.decision_id.map(|id| made.get(&id)) {
            None => "no decision",
            Some(None) if given.kept => "no such decision",
            Some(Some(made)) if !made.given.contains(&(given.conversation_id, given.user)) => "a decision that did not",
            Some(_) => return None,
        };
        Some(Row {
            conversation: Some(given.conversation_id),
            team: Some(given.team_id),
            user: Some(given.user),
            message: None,
            found: found.to_owned(),
            expected: "the decision that gave it".to_owned(),
            total: 0,
        })
    });
    Ok(counted(rows.collect()))
}

fn counted(mut rows: Vec<Row>) -> Vec<Row> {
    let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    for row in &mut rows {
        row.total = total;
    }
    rows
}
