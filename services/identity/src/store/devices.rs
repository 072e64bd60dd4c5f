//! Devices that their users trust.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{client::Client, domain::Token, error::Error};

/// A device that its user trusts.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id.
    pub id: Uuid,
    /// What its client called itself when it was trusted.
    pub user_agent: String,
    /// Where it came from then.
    pub address: Option<String>,
    /// When it was trusted.
    pub trusted_at: Timestamp,
    /// When it was last signed in on.
    pub last_used_at: Timestamp,
    /// Until when it is trusted.
    pub expires_at: Timestamp,
}

struct Row {
    id: Uuid,
    user_agent: String,
    address: Option<String>,
    trusted_at: jiff_sqlx::Timestamp,
    last_used_at: jiff_sqlx::Timestamp,
    expires_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Device {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            user_agent: row.user_agent,
            address: row.address,
            trusted_at: row.trusted_at.to_jiff(),
            last_used_at: row.last_used_at.to_jiff(),
            expires_at: row.expires_at.to_jiff(),
        }
    }
}

/// Trusts the device that `token` names.
pub async fn insert(
    tx: &mut PgConnection,
    token: &Token,
    user: Uuid,
    client: &Client,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Device, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"insert into trusted_devices (account_id, id, user_id, secret_hash, user_agent, address, trusted_at, last_used_at,
                                        expires_at)
           values ($1, $2, $3, $4, $5, $6::text::inet, $7, $7, $8)
           returning id, user_agent, host(address) as address, trusted_at as "trusted_at: jiff_sqlx::Timestamp",
                     last_used_at as "last_used_at: jiff_sqlx::Timestamp", expires_at as "expires_at: jiff_sqlx::Timestamp""#,
        token.account,
        token.subject,
        user,
        token.hash(),
        client.user_agent,
        client.address.map(|address| address.to_string()),
        now.to_sqlx() as _,
        expires_at.to_sqlx() as _,
    )
    .fetch_one(tx)
    .instrument(span("trust device"))
    .await?;
    Ok(row.into())
}

/// Whether `token` is that of a device which this user trusts; then it was used now.
pub async fn recognize(
    tx: &mut PgConnection,
    token: &Token,
    account: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<bool, Error> {
    let known = sqlx::query!(
        "update trusted_devices set last_used_at = $5
         where account_id = $1 and id = $2 and user_id = $3 and secret_hash = $4 and expires_at > $5",
        account,
        token.subject,
        user,
        token.hash(),
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("recognize device"))
    .await?;
    Ok(known.rows_affected() == 1)
}

/// A user's devices, those trusted last first.
pub async fn list(tx: &mut PgConnection, account: Uuid, user: Uuid, now: Timestamp) -> Result<Vec<Device>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, user_agent, host(address) as address, trusted_at as "trusted_at: jiff_sqlx::Timestamp",
                  last_used_at as "last_used_at: jiff_sqlx::Timestamp", expires_at as "expires_at: jiff_sqlx::Timestamp"
           from trusted_devices where account_id = $1 and user_id = $2 and expires_at > $3
           order by trusted_at desc, id desc"#,
        account,
        user,
        now.to_sqlx() as _,
    )
    .fetch_all(tx)
    .instrument(span("list devices"))
    .await?;
    Ok(rows.into_iter().map(Device::from).collect())
}

/// Forgets a user's device and returns it; `None` when he trusts no such one.
pub async fn take(tx: &mut PgConnection, account: Uuid, user: Uuid, id: Uuid) -> Result<Option<Device>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"delete from trusted_devices where account_id = $1 and user_id = $2 and id = $3
           returning id, user_agent, host(address) as address, trusted_at as "trusted_at: jiff_sqlx::Timestamp",
                     last_used_at as "last_used_at: jiff_sqlx::Timestamp", expires_at as "expires_at: jiff_sqlx::Timestamp""#,
        account,
        user,
        id,
    )
    .fetch_optional(tx)
    .instrument(span("revoke device"))
    .await?;
    Ok(row.map(Device::from))
}

/// Forgets a user's devices but for the `kept` that were trusted last.
pub async fn remove_beyond(tx: &mut PgConnection, account: Uuid, user: Uuid, kept: i64) -> Result<(), Error> {
    sqlx::query!(
        "delete from trusted_devices where account_id = $1 and user_id = $2 and id in
         (select id from trusted_devices where account_id = $1 and user_id = $2 order by trusted_at desc, id desc offset $3)",
        account,
        user,
        kept,
    )
    .execute(tx)
    .instrument(span("remove devices"))
    .await?;
    Ok(())
}

/// Forgets devices that were trusted until before `oldest`, at most a thousand. Returns how many.
pub async fn purge(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from trusted_devices where (account_id, id) in
         (select account_id, id from trusted_devices where expires_at < $1 order by expires_at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge devices"))
    .await?;
    Ok(purged.rows_affected())
}
