//! Offers of the ownership, one an account at most.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Error;

/// An open offer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Who made it.
    pub owner_id: Uuid,
    /// The admin whom it was made to.
    pub user_id: Uuid,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Makes an offer in the place of the one that is there.
pub async fn put(tx: &mut PgConnection, account: Uuid, offer: &Offer) -> Result<(), Error> {
    sqlx::query!(
        "insert into ownership_offers (account_id, owner_id, user_id, expires_at) values ($1, $2, $3, $4)
         on conflict (account_id) do update
             set owner_id = excluded.owner_id, user_id = excluded.user_id, expires_at = excluded.expires_at",
        account,
        offer.owner_id,
        offer.user_id,
        offer.expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("put offer"))
    .await?;
    Ok(())
}

/// The offer of an account that is good now.
pub async fn find(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<Option<Offer>, Error> {
    let row = sqlx::query!(
        r#"select owner_id, user_id, expires_at as "expires_at: jiff_sqlx::Timestamp" from ownership_offers
           where account_id = $1 and expires_at > $2"#,
        account,
        now.to_sqlx() as _,
    )
    .fetch_optional(tx)
    .instrument(span("find offer"))
    .await?;
    Ok(row.map(|row| Offer { owner_id: row.owner_id, user_id: row.user_id, expires_at: row.expires_at.to_jiff() }))
}

/// Uses an offer up. Of those who accept at once one gets it: the row can be deleted once. Returns whether it was there.
pub async fn take(tx: &mut PgConnection, account: Uuid, offer: &Offer) -> Result<bool, Error> {
    let taken = sqlx::query!(
        "delete from ownership_offers where account_id = $1 and owner_id = $2 and user_id = $3 and expires_at = $4",
        account,
        offer.owner_id,
        offer.user_id,
        offer.expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("take offer"))
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Ends the offer that `user` made or got. Returns whether there was one.
pub async fn end_of(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let ended = sqlx::query!(
        "delete from ownership_offers where account_id = $1 and $2 in (owner_id, user_id)",
        account,
        user,
    )
    .execute(tx)
    .instrument(span("end offer"))
    .await?;
    Ok(ended.rows_affected() == 1)
}
