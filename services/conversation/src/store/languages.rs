//! The language of each account, as identity says.

use diwan_fault::Language;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// Takes in the language of an account unless a newer one is known.
pub async fn set(tx: &mut Tx, account: Uuid, language: &str, version: i64) -> Result<(), Error> {
    let language = Language::of_tag(language).unwrap_or_default();
    sqlx::query!(
        "insert into account_languages as known (account_id, language, version) values ($1, $2, $3)
         on conflict (account_id) do update set language = excluded.language, version = excluded.version
         where known.version < excluded.version",
        account,
        language.tag(),
        version
    )
    .execute(tx)
    .instrument(diwan_store::span("set language"))
    .await?;
    Ok(())
}

/// The language of an account; English while it is not known.
pub async fn of(tx: &mut Tx, account: Uuid) -> Result<Language, Error> {
    let tag = sqlx::query_scalar!("select language from account_languages where account_id = $1", account)
        .fetch_optional(tx)
        .instrument(diwan_store::span("read language"))
        .await?;
    Ok(tag.and_then(|tag| Language::of_tag(&tag)).unwrap_or_default())
}
