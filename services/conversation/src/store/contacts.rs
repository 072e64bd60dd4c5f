//! Customers.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// The contact with this address, made where there is none. Without a key, because a broken mail named nobody, it is a new one:
/// strangers are not merged. The first name that is given stays.
pub async fn ensure(
    tx: &mut Tx,
    account: Uuid,
    new_id: Uuid,
    (name, email, key): (&str, &str, Option<&str>),
    now: Timestamp,
) -> Result<Uuid, Error> {
    let id = sqlx::query_scalar!(
        "insert into contacts as known (account_id, id, name, email, email_key, created_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (account_id, email_key) do update
             set name = case when known.name = '' then excluded.name else known.name end
         returning id",
        account,
        new_id,
        name,
        email,
        key,
        now.to_sqlx() as _
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("ensure contact"))
    .await?;
    Ok(id)
}
