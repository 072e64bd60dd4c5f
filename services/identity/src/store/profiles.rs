//! What people say of themselves.

use diwan_store::span;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{PhoneNumber, User},
    error::Error,
};

/// Writes names, language, telephone number and picture. The row must be locked.
pub async fn update(tx: &mut PgConnection, user: &User) -> Result<(), Error> {
    let place = user.profile.picture.as_ref().and_then(|picture| picture.place);
    let (large, small) = user.profile.picture.as_ref().map(|picture| (&*picture.large, &*picture.small)).unzip();
    sqlx::query!(
        "update users set name = $3, first_name = $4, last_name = $5, language = $6, picture_large = $7, picture_small = $8,
                          picture_id = $9, version = $10, phone = $11
         where account_id = $1 and id = $2",
        user.account_id,
        user.id,
        user.name,
        user.profile.first_name,
        user.profile.last_name,
        user.language.tag(),
        large,
        small,
        place,
        user.version,
        user.profile.phone.as_ref().map(PhoneNumber::as_str),
    )
    .execute(tx)
    .instrument(span("update profile"))
    .await?;
    Ok(())
}

/// Whether the picture that is kept in this part of the blob store is somebody's.
pub async fn is_shown(tx: &mut PgConnection, account: Uuid, picture: Uuid) -> Result<bool, Error> {
    let shown = sqlx::query_scalar!(
        r#"select exists (select from users where account_id = $1 and picture_id = $2) as "shown!""#,
        account,
        picture,
    );
    Ok(shown.fetch_one(tx).instrument(span("look for picture")).await?)
}
