//! Accounts, and whose an e-mail address is.

use diwan_fault::Language;
use diwan_proto::identity::v1::AccountState;
use diwan_store::span;
use jiff::Timestamp;
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
        r#"select name, time_zone, language, show_agent_name, email_confirmed_at is not null as "email_confirmed!", version,
                  created_at as "created_at: jiff_sqlx::Timestamp", state, closes_at as "closes_at: jiff_sqlx::Timestamp"
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
        show_agent_name: row.show_agent_name,
        email_confirmed: row.email_confirmed,
        version: row.version,
        created_at: row.created_at.to_jiff(),
        state: AccountState::from_str_name(&row.state).ok_or(Error::Unreadable("state"))?,
        closes_at: row.closes_at.map(jiff_sqlx::Timestamp::to_jiff),
    })
}

/// The same, kept from changing until the transaction ends.
pub async fn get_for_share(tx: &mut PgConnection, account: Uuid) -> Result<Account, Error> {
    sqlx::query!("select from accounts where account_id = $1 for share", account)
        .fetch_optional(&mut *tx)
        .instrument(span("lock account for share"))
        .await?;
    get(tx, account).await
}

/// The same, to be changed: whoever else wants to change it waits until the transaction ends.
pub async fn get_for_update(tx: &mut PgConnection, account: Uuid) -> Result<Account, Error> {
    sqlx::query!("select from accounts where account_id = $1 for no key update", account)
        .fetch_optional(&mut *tx)
        .instrument(span("lock account"))
        .await?;
    get(tx, account).await
}

/// Writes what a change changes. The row must be locked.
pub async fn update(tx: &mut PgConnection, account: &Account, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update accounts set name = $2, time_zone = $3, language = $4, show_agent_name = $5, version = $6,
                             email_confirmed_at = case when $7 then coalesce(email_confirmed_at, $8) end
         where account_id = $1",
        account.id,
        account.name,
        account.time_zone,
        account.language.tag(),
        account.show_agent_name,
        account.version,
        account.email_confirmed,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("update account"))
    .await?;
    Ok(())
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

/// Frees an address if it is this user's.
pub async fn release_email(tx: &mut PgConnection, key: &str, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "delete from email_addresses where email_key = $1 and account_id = $2 and user_id = $3",
        key,
        account,
        user,
    )
    .execute(tx)
    .instrument(span("release address"))
    .await?;
    Ok(())
}

/// Whose an address is: account and user.
pub async fn find_email(tx: &mut PgConnection, key: &str) -> Result<Option<(Uuid, Uuid)>, Error> {
    let row = sqlx::query!("select account_id, user_id from email_addresses where email_key = $1", key)
        .fetch_optional(tx)
        .instrument(span("find address"))
        .await?;
    Ok(row.map(|row| (row.account_id, row.user_id)))
}
