//! Recoveries of second factors that go on, one a user at most. Whoever adds one has locked its user.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{error::Error, factors::Whose};

/// A recovery that goes on.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Its id.
    pub id: Uuid,
    /// Whose factors it takes away.
    pub whose: Whose,
    /// Why, as the operator said.
    pub reason: String,
    /// The operator who began it.
    pub begun_by: String,
    /// When.
    pub begun_at: Timestamp,
    /// When the factors go.
    pub due_at: Timestamp,
}

/// Adds one to a user who has none.
pub async fn insert(tx: &mut PgConnection, recovery: &Recovery) -> Result<(), Error> {
    sqlx::query!(
        "insert into factor_recoveries (account_id, user_id, id, reason, begun_by, begun_at, due_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        recovery.whose.account,
        recovery.whose.user,
        recovery.id,
        recovery.reason,
        recovery.begun_by,
        recovery.begun_at.to_sqlx() as _,
        recovery.due_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert factor recovery"))
    .await?;
    Ok(())
}

/// The one of a user.
pub async fn find(tx: &mut PgConnection, whose: Whose) -> Result<Option<Recovery>, Error> {
    let row = sqlx::query!(
        r#"select id, reason, begun_by, begun_at as "begun_at: jiff_sqlx::Timestamp", due_at as "due_at: jiff_sqlx::Timestamp"
           from factor_recoveries where account_id = $1 and user_id = $2"#,
        whose.account,
        whose.user,
    )
    .fetch_optional(tx)
    .instrument(span("find factor recovery"))
    .await?;
    Ok(row.map(|row| Recovery {
        id: row.id,
        whose,
        reason: row.reason,
        begun_by: row.begun_by,
        begun_at: row.begun_at.to_jiff(),
        due_at: row.due_at.to_jiff(),
    }))
}

/// Takes the one of a user away. Of any number at once one gets it.
pub async fn take(tx: &mut PgConnection, whose: Whose) -> Result<Option<Recovery>, Error> {
    let row = sqlx::query!(
        r#"delete from factor_recoveries where account_id = $1 and user_id = $2
           returning id, reason, begun_by, begun_at as "begun_at: jiff_sqlx::Timestamp", due_at as "due_at: jiff_sqlx::Timestamp""#,
        whose.account,
        whose.user,
    )
    .fetch_optional(tx)
    .instrument(span("take factor recovery"))
    .await?;
    Ok(row.map(|row| Recovery {
        id: row.id,
        whose,
        reason: row.reason,
        begun_by: row.begun_by,
        begun_at: row.begun_at.to_jiff(),
        due_at: row.due_at.to_jiff(),
    }))
}
