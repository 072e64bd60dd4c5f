//! The WhatsApp numbers of people. Whoever changes one has locked its user.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::PhoneNumber, error::Error};

/// What a user has.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// His number, and when he confirmed it.
    pub confirmed: Option<(PhoneNumber, Timestamp)>,
    /// One that waits for its code.
    pub pending: Option<Pending>,
}

/// A number that waits for its code.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The number.
    pub number: PhoneNumber,
    /// What its code is bound to.
    pub confirmation: Uuid,
    /// Until when it waits.
    pub until: Timestamp,
}

/// A user's numbers.
pub async fn find(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<Numbers, Error> {
    let row = sqlx::query!(
        r#"select number, confirmed_at as "confirmed_at: jiff_sqlx::Timestamp", pending_number, confirmation_id,
                  pending_until as "pending_until: jiff_sqlx::Timestamp"
           from whatsapp_numbers where account_id = $1 and user_id = $2"#,
        account,
        user,
    )
    .fetch_optional(tx)
    .instrument(span("find whatsapp number"))
    .await?;
    let Some(row) = row else { return Ok(Numbers::default()) };
    let read = |number: String| PhoneNumber::read(&number).ok_or(Error::Unreadable("number"));
    let confirmed = row.number.map(read).transpose()?.zip(row.confirmed_at);
    let pending = row.pending_number.map(read).transpose()?.zip(row.confirmation_id).zip(row.pending_until);
    Ok(Numbers {
        confirmed: confirmed.map(|(number, at)| (number, at.to_jiff())),
        pending: pending.map(|((number, confirmation), until)| Pending {
            number,
            confirmation,
            until: until.to_jiff(),
        }),
    })
}

/// A user's confirmed number.
pub async fn confirmed(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<Option<PhoneNumber>, Error> {
    Ok(find(tx, account, user).await?.confirmed.map(|(number, _)| number))
}

/// Whether codes to a user's number are a second factor of his.
pub async fn is_factor(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from second_factors where account_id = $1 and user_id = $2 and whatsapp) as "factor!""#,
        account,
        user,
    );
    Ok(found.fetch_one(tx).instrument(span("look at whatsapp factor")).await?)
}

/// Lets a number wait for its code, in the place of one that did before.
pub async fn propose(tx: &mut PgConnection, account: Uuid, user: Uuid, pending: &Pending) -> Result<(), Error> {
    sqlx::query!(
        "insert into whatsapp_numbers (account_id, user_id, pending_number, confirmation_id, pending_until)
         values ($1, $2, $3, $4, $5)
         on conflict (account_id, user_id)
         do update set pending_number = excluded.pending_number, confirmation_id = excluded.confirmation_id,
                       pending_until = excluded.pending_until",
        account,
        user,
        pending.number.as_str(),
        pending.confirmation,
        pending.until.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("propose whatsapp number"))
    .await?;
    Ok(())
}

/// Makes the number that waits the user's.
pub async fn confirm(tx: &mut PgConnection, account: Uuid, user: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update whatsapp_numbers
         set number = pending_number, confirmed_at = $3, pending_number = null, confirmation_id = null, pending_until = null
         where account_id = $1 and user_id = $2",
        account,
        user,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("confirm whatsapp number"))
    .await?;
    Ok(())
}

/// Forgets a user's numbers. Returns whether there was one.
pub async fn remove(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let removed = sqlx::query!("delete from whatsapp_numbers where account_id = $1 and user_id = $2", account, user)
        .execute(tx)
        .instrument(span("remove whatsapp number"))
        .await?;
    Ok(removed.rows_affected() == 1)
}

/// Forgets numbers that waited until `oldest` and were not confirmed, which may be anybody's; at most a thousand. Returns how many.
pub async fn purge_pending(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query_scalar!(
        r#"with due as (select account_id, user_id from whatsapp_numbers where pending_until < $1 limit 1000
                        for update skip locked),
                gone as (delete from whatsapp_numbers n using due
                         where n.account_id = due.account_id and n.user_id = due.user_id and n.number is null returning 1),
                kept as (update whatsapp_numbers n set pending_number = null, confirmation_id = null, pending_until = null
                         from due where n.account_id = due.account_id and n.user_id = due.user_id and n.number is not null
                         returning 1)
           select (select count(*) from gone) + (select count(*) from kept) as "purged!""#,
        oldest.to_sqlx() as _,
    )
    .fetch_one(tx)
    .instrument(span("purge pending whatsapp numbers"))
    .await?;
    Ok(u64::try_from(purged).unwrap_or_default())
}
