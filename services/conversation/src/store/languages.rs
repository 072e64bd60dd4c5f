//! The language and the time zone of each account, as identity says.

use diwan_fault::Language;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// Takes in language and time zone of an account unless newer ones are known.
pub async fn set(tx: &mut Tx, account: Uuid, (language, zone): (&str, &str), version: i64) -> Result<(), Error> {
    let language = Language::of_tag(language).unwrap_or_default();
    sqlx::query!(
        "insert into account_languages as known (account_id, language, time_zone, version) values ($1, $2, nullif($3, ''), $4)
         on conflict (account_id) do update
             set language = excluded.language, time_zone = excluded.time_zone, version = excluded.version
         where known.version < excluded.version",
        account,
        language.tag(),
        zone,
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
