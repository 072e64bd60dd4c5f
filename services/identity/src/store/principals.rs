//! Service principals, and the users for whom they may act.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{domain::Principal, error::Error};

struct Row {
    account_id: Uuid,
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    account_ids: Vec<Uuid>,
    all_accounts: bool,
    disabled_at: Option<jiff_sqlx::Timestamp>,
    epoch: i64,
    version: i64,
    created_at: jiff_sqlx::Timestamp,
}

impl From<Row> for Principal {
    fn from(row: Row) -> Self {
        Self {
            account: row.account_id,
            id: row.id,
            name: row.name,
            scopes: row.scopes,
            account_ids: row.account_ids,
            all_accounts: row.all_accounts,
            disabled_at: row.disabled_at.map(jiff_sqlx::Timestamp::to_jiff),
            epoch: row.epoch,
            version: row.version,
            created_at: row.created_at.to_jiff(),
        }
    }
}

/// A user for whom a principal may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acted {
    /// His account.
    pub account: Uuid,
    /// He.
    pub user: Uuid,
}

/// Makes one.
pub async fn insert(tx: &mut PgConnection, principal: &Principal) -> Result<(), Error> {
    sqlx::query!(
        "insert into service_principals (account_id, id, name, scopes, account_ids, all_accounts, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        principal.account,
        principal.id,
        principal.name,
        &principal.scopes,
        &principal.account_ids,
        principal.all_accounts,
        principal.created_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert principal"))
    .await?;
    Ok(())
}

/// One of an account, or of the installation.
pub async fn find(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<Principal>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select account_id, id, name, scopes, account_ids, all_accounts, disabled_at as "disabled_at: jiff_sqlx::Timestamp",
                  epoch, version, created_at as "created_at: jiff_sqlx::Timestamp"
           from service_principals where account_id = $1 and id = $2"#,
        account,
        id,
    )
    .fetch_optional(tx)
    .instrument(span("find principal"))
    .await?;
    Ok(row.map(Principal::from))
}

/// As [`find`], to be changed: changes of one principal and its credentials happen one after the other.
pub async fn find_for_update(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<Principal>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select account_id, id, name, scopes, account_ids, all_accounts, disabled_at as "disabled_at: jiff_sqlx::Timestamp",
                  epoch, version, created_at as "created_at: jiff_sqlx::Timestamp"
           from service_principals where account_id = $1 and id = $2 for update"#,
        account,
        id,
    )
    .fetch_optional(tx)
    .instrument(span("lock principal"))
    .await?;
    Ok(row.map(Principal::from))
}

/// Those of an account or of the installation, by the time they were made.
pub async fn list(
    tx: &mut PgConnection,
    account: Uuid,
    after: Option<&(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Principal>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select account_id, id, name, scopes, account_ids, all_accounts, disabled_at as "disabled_at: jiff_sqlx::Timestamp",
                  epoch, version, created_at as "created_at: jiff_sqlx::Timestamp"
           from service_principals
           where account_id = $1 and ($2::timestamptz is null or (created_at, id) > ($2, $3))
           order by created_at, id limit $4"#,
        account,
        after.map(|(at, _)| at.to_sqlx()) as _,
        after.map(|(_, id)| *id),
        limit,
    )
    .fetch_all(tx)
    .instrument(span("list principals"))
    .await?;
    Ok(rows.into_iter().map(Principal::from).collect())
}

/// Writes what may change of one. The row must be locked.
pub async fn update(tx: &mut PgConnection, principal: &Principal) -> Result<(), Error> {
    sqlx::query!(
        "update service_principals
         set name = $3, scopes = $4, account_ids = $5, all_accounts = $6, disabled_at = $7, epoch = $8, version = $9
         where account_id = $1 and id = $2",
        principal.account,
        principal.id,
        principal.name,
        &principal.scopes,
        &principal.account_ids,
        principal.all_accounts,
        principal.disabled_at.map(Timestamp::to_sqlx) as _,
        principal.epoch,
        principal.version,
    )
    .execute(tx)
    .instrument(span("update principal"))
    .await?;
    Ok(())
}

/// The users for whom one may act, by account.
pub async fn acted(tx: &mut PgConnection, account: Uuid, principal: Uuid) -> Result<Vec<Acted>, Error> {
    let rows = sqlx::query_as!(
        Acted,
        r#"select user_account_id as "account", user_id as "user" from acted_users
           where account_id = $1 and principal_id = $2 order by user_account_id, user_id"#,
        account,
        principal,
    )
    .fetch_all(tx)
    .instrument(span("list acted users"))
    .await?;
    Ok(rows)
}

/// Names the users of one account for whom it may act, in place of those before. Who named one first is remembered while he
/// stays named, unless the user names himself.
pub async fn set_acted(
    tx: &mut PgConnection,
    (account, principal): (Uuid, Uuid),
    of: Uuid,
    users: &[Uuid],
    by: Option<Uuid>,
) -> Result<(), Error> {
    sqlx::query!(
        "delete from acted_users
         where account_id = $1 and principal_id = $2 and user_account_id = $3 and user_id <> all ($4)",
        account,
        principal,
        of,
        users,
    )
    .execute(&mut *tx)
    .instrument(span("remove acted users"))
    .await?;
    sqlx::query!(
        "insert into acted_users (account_id, principal_id, user_account_id, user_id, named_by)
         select $1, $2, $3, user_id, $5::uuid from unnest($4::uuid[]) as named (user_id)
         on conflict (account_id, principal_id, user_account_id, user_id)
         do update set named_by = excluded.named_by where excluded.named_by = excluded.user_id",
        account,
        principal,
        of,
        users,
        by,
    )
    .execute(tx)
    .instrument(span("add acted users"))
    .await?;
    Ok(())
}

/// Whether it may act for a user, and whether he has said so himself: `None` if it may not.
pub async fn acts_for(
    tx: &mut PgConnection,
    (account, principal): (Uuid, Uuid),
    user: Acted,
) -> Result<Option<bool>, Error> {
    let named = sqlx::query_scalar!(
        r#"select coalesce(named_by = user_id, false) as "himself!" from acted_users
           where account_id = $1 and principal_id = $2 and user_account_id = $3 and user_id = $4"#,
        account,
        principal,
        user.account,
        user.user,
    )
    .fetch_optional(tx)
    .instrument(span("find acted user"))
    .await?;
    Ok(named)
}

/// Forgets that a user has named himself: who becomes the owner has to say so again, since admins could extend until then what acts
/// for him.
pub async fn forget_own_names(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "update acted_users set named_by = null where account_id = $1 and user_account_id = $1 and user_id = $2",
        account,
        user,
    )
    .execute(tx)
    .instrument(span("forget own names"))
    .await?;
    Ok(())
}

/// How many of an account are not disabled. They stay as many only while the account is locked.
pub async fn count_in_use(tx: &mut PgConnection, account: Uuid) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from service_principals where account_id = $1 and disabled_at is null"#,
        account
    )
    .fetch_one(tx)
    .instrument(span("count principals in use"))
    .await?;
    Ok(count)
}

/// How many of `accounts` there are.
pub async fn count_accounts(tx: &mut PgConnection, accounts: &[Uuid]) -> Result<i64, Error> {
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from accounts where account_id = any ($1)"#, accounts)
            .fetch_one(tx)
            .instrument(span("count accounts"))
            .await?;
    Ok(count)
}

/// The epoch of an account that is open.
pub async fn account_epoch(tx: &mut PgConnection, account: Uuid) -> Result<Option<i64>, Error> {
    let epoch = sqlx::query_scalar!(
        "select epoch from accounts where account_id = $1 and state = 'ACCOUNT_STATE_ACTIVE'",
        account,
    )
    .fetch_optional(tx)
    .instrument(span("find account epoch"))
    .await?;
    Ok(epoch)
}
