//! Accounts, and whose an e-mail address is.

use diwan_fault::Language;
use diwan_store::span;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Account, error::Error};

/// Adds an account.
pub async fn insert(tx: &mut PgConnection, account: &Account) -> Result<(), Error> {
    sqlx::query!(
        "insert into accounts (account_id, name, time_zone, language, created_at) values ($1, $2, $3, $4, $5)",
        account.id,
        account.name,
        account.time_zone,
        account.language.tag(),
        account.created_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert account"))
    .await?;
    Ok(())
}

/// The account of this id.
pub async fn get(tx: &mut PgConnection, account: Uuid) -> Result<Account, Error> {
    let row = sqlx::query!(
        r#"select name, time_zone, language, created_at as "created_at: jiff_sqlx::Timestamp"
           from accounts where account_id = $1"#,
        account,
    )
    .fetch_one(tx)
    .instrument(span("get account"))
    .await?;
    Ok(Account {
        id: account,
        name: row.name,
        time_zone: row.time_zone,
        language: Language::of_tag(&row.language).ok_or(Error::Unreadable("language"))?,
        created_at: row.created_at.to_jiff(),
    })
}

/// Reserves an address. Of those who want it at once one gets it: the primary key makes the others wait until his transaction
/// has ended.
///
/// # Errors
/// [`Error::EmailTaken`].
pub async fn reserve_email(tx: &mut PgConnection, key: &str, account: Uuid, user: Uuid) -> Result<(), Error> {
    let reserved = sqlx::query!(
        "insert into email_addresses (email_key, account_id, user_id) values ($1, $2, $3) on conflict do nothing",
        key,
        account,
        user,
    )
    .execute(tx)
    .instrument(span("reserve address"))
    .await?;
    if reserved.rows_affected() == 1 { Ok(()) } else { Err(Error::EmailTaken) }
}

/// Whose an address is: account and user.
pub async fn find_email(tx: &mut PgConnection, key: &str) -> Result<Option<(Uuid, Uuid)>, Error> {
    let row = sqlx::query!("select account_id, user_id from email_addresses where email_key = $1", key)
        .fetch_optional(tx)
        .instrument(span("find address"))
        .await?;
    Ok(row.map(|row| (row.account_id, row.user_id)))
}
