//! Credentials of service principals, and the assertions that were taken.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{Credential, Proof, Taken},
    error::Error,
};

struct Row {
    id: Uuid,
    public_key: Option<Vec<u8>>,
    secret_hash: Option<Vec<u8>>,
    secret_hint: String,
    epoch: i64,
    created_at: jiff_sqlx::Timestamp,
    expires_at: Option<jiff_sqlx::Timestamp>,
}

impl TryFrom<Row> for Credential {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let proof = match (row.public_key, row.secret_hash) {
            (Some(key), None) => Proof::Key(key),
            (None, Some(hash)) => Proof::Secret { hash, hint: row.secret_hint },
            _ => return Err(Error::Unreadable("public_key")),
        };
        Ok(Self {
            id: row.id,
            proof,
            epoch: row.epoch,
            created_at: row.created_at.to_jiff(),
            expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// Whose a credential is: the account that the principal belongs to, and the principal.
pub async fn owner(tx: &mut PgConnection, credential: Uuid) -> Result<Option<(Uuid, Uuid)>, Error> {
    let row = sqlx::query!("select account_id, principal_id from principal_credentials where id = $1", credential)
        .fetch_optional(tx)
        .instrument(span("find owner of credential"))
        .await?;
    Ok(row.map(|row| (row.account_id, row.principal_id)))
}

/// One of a principal.
pub async fn find(
    tx: &mut PgConnection,
    (account, principal): (Uuid, Uuid),
    id: Uuid,
) -> Result<Option<Credential>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, public_key, secret_hash, secret_hint, epoch, created_at as "created_at: jiff_sqlx::Timestamp",
                  expires_at as "expires_at: jiff_sqlx::Timestamp"
           from principal_credentials where account_id = $1 and principal_id = $2 and id = $3"#,
        account,
        principal,
        id,
    )
    .fetch_optional(tx)
    .instrument(span("find credential"))
    .await?;
    row.map(Credential::try_from).transpose()
}

/// Those of a principal, the oldest first.
pub async fn list(tx: &mut PgConnection, account: Uuid, principal: Uuid) -> Result<Vec<Credential>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, public_key, secret_hash, secret_hint, epoch, created_at as "created_at: jiff_sqlx::Timestamp",
                  expires_at as "expires_at: jiff_sqlx::Timestamp"
           from principal_credentials where account_id = $1 and principal_id = $2 order by created_at, id"#,
        account,
        principal,
    )
    .fetch_all(tx)
    .instrument(span("list credentials"))
    .await?;
    rows.into_iter().map(Credential::try_from).collect()
}

/// Adds one.
pub async fn insert(
    tx: &mut PgConnection,
    (account, principal): (Uuid, Uuid),
    credential: &Credential,
) -> Result<(), Error> {
    let (key, hash, hint) = match &credential.proof {
        Proof::Key(key) => (Some(key), None, ""),
        Proof::Secret { hash, hint } => (None, Some(hash), hint.as_str()),
    };
    sqlx::query!(
        "insert into principal_credentials (account_id, principal_id, id, public_key, secret_hash, secret_hint, created_at,
                                            expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        account,
        principal,
        credential.id,
        key,
        hash,
        hint,
        credential.created_at.to_sqlx() as _,
        credential.expires_at.map(Timestamp::to_sqlx) as _,
    )
    .execute(tx)
    .instrument(span("insert credential"))
    .await?;
    Ok(())
}

/// Says when one expires, and writes its epoch. The principal must be locked.
pub async fn update(
    tx: &mut PgConnection,
    (account, principal): (Uuid, Uuid),
    credential: &Credential,
) -> Result<(), Error> {
    sqlx::query!(
        "update principal_credentials set expires_at = $4, epoch = $5
         where account_id = $1 and principal_id = $2 and id = $3",
        account,
        principal,
        credential.id,
        credential.expires_at.map(Timestamp::to_sqlx) as _,
        credential.epoch,
    )
    .execute(tx)
    .instrument(span("update credential"))
    .await?;
    Ok(())
}

/// Removes one. The principal must be locked.
pub async fn delete(tx: &mut PgConnection, (account, principal): (Uuid, Uuid), id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "delete from principal_credentials where account_id = $1 and principal_id = $2 and id = $3",
        account,
        principal,
        id,
    )
    .execute(tx)
    .instrument(span("delete credential"))
    .await?;
    Ok(())
}

/// Takes an assertion; false when it has been taken. Of many at once the primary key lets one pass.
pub async fn take(tx: &mut PgConnection, credential: Uuid, taken: &Taken) -> Result<bool, Error> {
    let done = sqlx::query!(
        "insert into taken_assertions (credential_id, jti_hash, expires_at) values ($1, $2, $3) on conflict do nothing",
        credential,
        &taken.jti_hash,
        taken.expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("take assertion"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets assertions that expired before `oldest`, at most a thousand. Returns how many.
pub async fn purge_taken(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from taken_assertions where (credential_id, jti_hash) in
         (select credential_id, jti_hash from taken_assertions where expires_at < $1 order by expires_at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge assertions"))
    .await?;
    Ok(purged.rows_affected())
}
