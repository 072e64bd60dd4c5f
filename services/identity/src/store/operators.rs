//! Operators' tokens that are refused.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Error;

/// Which tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// The one with this id.
    One(Uuid),
    /// Those of the operator of this name.
    Of(String),
}

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRevocation {
    /// Its own id.
    pub id: Uuid,
    /// Which tokens.
    pub tokens: Tokens,
    /// Of an operator: those that were issued until then.
    pub issued_until: Timestamp,
    /// Why.
    pub reason: String,
    /// When.
    pub revoked_at: Timestamp,
    /// By whom.
    pub revoked_by: String,
}

/// Revokes. A token that has been revoked before stays so.
pub async fn insert(tx: &mut PgConnection, revocation: &OperatorRevocation) -> Result<(), Error> {
    let (token, operator) = match &revocation.tokens {
        Tokens::One(id) => (Some(*id), None),
        Tokens::Of(name) => (None, Some(name)),
    };
    sqlx::query!(
        "insert into operator_revocations (id, token_id, operator, issued_until, reason, revoked_at, revoked_by)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (token_id) do nothing",
        revocation.id,
        token,
        operator,
        revocation.issued_until.to_sqlx() as _,
        revocation.reason,
        revocation.revoked_at.to_sqlx() as _,
        revocation.revoked_by,
    )
    .execute(tx)
    .instrument(span("insert operator revocation"))
    .await?;
    Ok(())
}

/// What was revoked, the newest first: since `since`, of the token `token`, before `after` of a list; each where it is given.
pub async fn list(
    tx: &mut PgConnection,
    since: Option<Timestamp>,
    token: Option<Uuid>,
    after: Option<&(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<OperatorRevocation>, Error> {
    let (time, id) = after.map(|(time, id)| (time.to_sqlx(), *id)).unzip();
    let rows = sqlx::query!(
        r#"select id, token_id, operator, issued_until as "issued_until: jiff_sqlx::Timestamp", reason,
                  revoked_at as "revoked_at: jiff_sqlx::Timestamp", revoked_by
           from operator_revocations
           where ($1::timestamptz is null or revoked_at >= $1) and ($2::uuid is null or token_id = $2)
             and ($3::timestamptz is null or (revoked_at, id) < ($3, $4))
           order by revoked_at desc, id desc limit $5"#,
        since.map(jiff_sqlx::ToSqlx::to_sqlx) as _,
        token,
        time as _,
        id,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("list operator revocations"))
    .await?;
    rows.into_iter()
        .map(|row| {
            let tokens = row.token_id.map(Tokens::One).or(row.operator.map(Tokens::Of));
            Ok(OperatorRevocation {
                id: row.id,
                tokens: tokens.ok_or(Error::Unreadable("operator"))?,
                issued_until: row.issued_until.to_jiff(),
                reason: row.reason,
                revoked_at: row.revoked_at.to_jiff(),
                revoked_by: row.revoked_by,
            })
        })
        .collect()
}
