//! Customers.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// The contact with this address, made where there is none. Without a key, because a broken mail named nobody, it is a new one:
/// strangers are not merged. The first name that is given stays, and the first country. The second value: whether it is a new one.
pub async fn ensure(
    tx: &mut Tx,
    account: Uuid,
    new_id: Uuid,
    (name, email, key, country): (&str, &str, Option<&str>, Option<&str>),
    now: Timestamp,
) -> Result<(Uuid, bool), Error> {
    let row = sqlx::query!(
        r#"insert into contacts as known (account_id, id, name, email, email_key, created_at, country)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (account_id, email_key) do update
             set name = case when known.name = '' then excluded.name else known.name end,
                 country = coalesce(known.country, excluded.country)
         returning id, id = $2 as "new!""#,
        account,
        new_id,
        name,
        email,
        key,
        now.to_sqlx() as _,
        country
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("ensure contact"))
    .await?;
    Ok((row.id, row.new))
}

/// The country of a contact, where it is known.
pub async fn country(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<String>, Error> {
    let found = sqlx::query_scalar!("select country from contacts where account_id = $1 and id = $2", account, id)
        .fetch_optional(tx)
        .instrument(diwan_store::span("read country"))
        .await?;
    Ok(found.flatten())
}

/// Sets the country of a contact. `false`: there is no such contact.
pub async fn set_country(tx: &mut Tx, account: Uuid, id: Uuid, country: Option<&str>) -> Result<bool, Error> {
    let done = sqlx::query!("update contacts set country = $3 where account_id = $1 and id = $2", account, id, country)
        .execute(tx)
        .instrument(diwan_store::span("set country"))
        .await?;
    Ok(done.rows_affected() == 1)
}
