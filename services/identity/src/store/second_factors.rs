//! What users have beside their passwords. Whoever changes it has locked the user.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{Authenticator, Code, Pending, SecondFactors},
    error::Error,
};

/// A user's factors.
pub async fn find(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<SecondFactors, Error> {
    let row = sqlx::query!(
        r#"select totp_secret, totp_last_step, pending_secret, pending_until as "pending_until: jiff_sqlx::Timestamp",
                  whatsapp, version,
                  (select count(*)::integer from recovery_codes r
                   where r.account_id = f.account_id and r.user_id = f.user_id) as "recovery_codes!"
           from second_factors f where account_id = $1 and user_id = $2"#,
        account,
        user,
    )
    .fetch_optional(tx)
    .instrument(span("find second factors"))
    .await?;
    let Some(row) = row else { return Ok(SecondFactors::default()) };
    let (secret, pending) = (row.totp_secret.zip(row.totp_last_step), row.pending_secret.zip(row.pending_until));
    Ok(SecondFactors {
        totp: secret.map(|(sealed, last_step)| Authenticator { sealed, last_step }),
        pending: pending.map(|(sealed, until)| Pending { sealed, until: until.to_jiff() }),
        whatsapp: row.whatsapp,
        recovery_codes: row.recovery_codes,
        version: row.version,
    })
}

/// Writes a user's factors, but for the recovery codes.
pub async fn put(tx: &mut PgConnection, account: Uuid, user: Uuid, factors: &SecondFactors) -> Result<(), Error> {
    let (totp, pending) = (factors.totp.as_ref(), factors.pending.as_ref());
    sqlx::query!(
        "insert into second_factors (account_id, user_id, totp_secret, totp_last_step, pending_secret, pending_until, whatsapp,
                                     version)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (account_id, user_id)
         do update set totp_secret = excluded.totp_secret, totp_last_step = excluded.totp_last_step,
                       pending_secret = excluded.pending_secret, pending_until = excluded.pending_until,
                       whatsapp = excluded.whatsapp, version = excluded.version",
        account,
        user,
        totp.map(|totp| totp.sealed.as_slice()),
        totp.map(|totp| totp.last_step),
        pending.map(|pending| pending.sealed.as_slice()),
        pending.map(|pending| pending.until.to_sqlx()) as _,
        factors.whatsapp,
        factors.version,
    )
    .execute(tx)
    .instrument(span("put second factors"))
    .await?;
    Ok(())
}

/// Takes a step of the authenticator; `false` when it, or a later one, was taken before. Of any number at once, whatever
/// their challenges, one takes it: each waits for the row and judges `totp_last_step < step` by what the others left.
pub async fn take_step(tx: &mut PgConnection, account: Uuid, user: Uuid, step: i64) -> Result<bool, Error> {
    let taken = sqlx::query!(
        "update second_factors set totp_last_step = $3 where account_id = $1 and user_id = $2 and totp_last_step < $3",
        account,
        user,
        step,
    )
    .execute(tx)
    .instrument(span("take step"))
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Replaces a user's recovery codes, by none too.
pub async fn put_recovery_codes(tx: &mut PgConnection, account: Uuid, user: Uuid, codes: &[Code]) -> Result<(), Error> {
    sqlx::query!("delete from recovery_codes where account_id = $1 and user_id = $2", account, user)
        .execute(&mut *tx)
        .instrument(span("remove recovery codes"))
        .await?;
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| code.hash_of(account, user)).collect();
    sqlx::query!(
        "insert into recovery_codes (account_id, user_id, code_hash) select $1, $2, unnest($3::bytea[])",
        account,
        user,
        &hashes,
    )
    .execute(tx)
    .instrument(span("put recovery codes"))
    .await?;
    Ok(())
}

/// Uses a recovery code up; `false` when it is none. Of any number at once one deletes the row.
pub async fn take_recovery_code(tx: &mut PgConnection, account: Uuid, user: Uuid, code: &Code) -> Result<bool, Error> {
    let taken = sqlx::query!(
        "delete from recovery_codes where account_id = $1 and user_id = $2 and code_hash = $3",
        account,
        user,
        code.hash_of(account, user),
    )
    .execute(tx)
    .instrument(span("take recovery code"))
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Those of an account who may sign in and have no factor, in the order in which they are locked.
pub async fn lock_users_without(tx: &mut PgConnection, account: Uuid) -> Result<Vec<Uuid>, Error> {
    let users = sqlx::query_scalar!(
        "select id from users u
         where account_id = $1 and state = 'USER_STATE_ACTIVE'
           and not exists (select from second_factors f where f.account_id = u.account_id and f.user_id = u.id
                           and (f.totp_secret is not null or f.whatsapp))
         order by id for no key update",
        account,
    )
    .fetch_all(tx)
    .instrument(span("lock users without factors"))
    .await?;
    Ok(users)
}

/// Forgets authenticators that were not confirmed before `oldest`, at most a thousand. Returns how many.
pub async fn purge_pending(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "update second_factors set pending_secret = null, pending_until = null where (account_id, user_id) in
         (select account_id, user_id from second_factors where pending_until < $1 order by pending_until limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge pending authenticators"))
    .await?;
    Ok(purged.rows_affected())
}
