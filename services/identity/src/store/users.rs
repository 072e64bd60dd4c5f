//! Users.

use diwan_fault::Language;
use diwan_proto::{
    access::v1::{Grant, Role},
    identity::v1::UserState,
};
use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::{PhoneNumber, Picture, Profile, User},
    error::Error,
};

struct Row {
    id: Uuid,
    account_id: Uuid,
    name: String,
    email: String,
    role: String,
    grants: Vec<String>,
    language: String,
    state: String,
    has_password: bool,
    epoch: i64,
    version: i64,
    created_at: jiff_sqlx::Timestamp,
    first_name: String,
    last_name: String,
    phone: Option<String>,
    picture_large: Option<String>,
    picture_small: Option<String>,
    picture_id: Option<Uuid>,
}

impl TryFrom<Row> for User {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let grant = |name: &String| Grant::from_str_name(name).ok_or(Error::Unreadable("grants"));
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            name: row.name,
            email: row.email,
            role: Role::from_str_name(&row.role).ok_or(Error::Unreadable("role"))?,
            grants: row.grants.iter().map(grant).collect::<Result<_, _>>()?,
            language: Language::of_tag(&row.language).ok_or(Error::Unreadable("language"))?,
            state: UserState::from_str_name(&row.state).ok_or(Error::Unreadable("state"))?,
            has_password: row.has_password,
            epoch: row.epoch,
            version: row.version,
            created_at: row.created_at.to_jiff(),
            profile: Profile {
                first_name: row.first_name,
                last_name: row.last_name,
                phone: row
                    .phone
                    .map(|phone| PhoneNumber::read(&phone).ok_or(Error::Unreadable("phone")))
                    .transpose()?,
                picture: row.picture_large.zip(row.picture_small).map(|(large, small)| Picture {
                    large,
                    small,
                    place: row.picture_id,
                }),
            },
        })
    }
}

/// Adds a user, with a password hash or without.
///
/// # Errors
/// The request id was used before, when there is a user of this id: an invited user's follows from it, and the answer to the
/// first use may have been forgotten since.
pub async fn insert(tx: &mut PgConnection, user: &User, password_hash: Option<&str>) -> Result<(), Error> {
    let grants: Vec<String> = user.grants.iter().map(|grant| grant.as_str_name().to_owned()).collect();
    sqlx::query!(
        "insert into users (account_id, id, name, email, role, grants, language, state, password_hash, epoch, version,
                            created_at, phone)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        user.account_id,
        user.id,
        user.name,
        user.email,
        user.role.as_str_name(),
        &grants,
        user.language.tag(),
        user.state.as_str_name(),
        password_hash,
        user.epoch,
        user.version,
        user.created_at.to_sqlx() as _,
        user.profile.phone.as_ref().map(PhoneNumber::as_str),
    )
    .execute(tx)
    .instrument(span("insert user"))
    .await
    .map_err(|error| match diwan_store::Error::from(error) {
        error if error.is_unique_violation("users_pkey") => diwan_store::Error::RequestIdReused,
        error => error,
    })?;
    Ok(())
}

/// Writes what a transition changes: state, epoch, version, and a password hash where one is given. The row must be locked.
pub async fn update(tx: &mut PgConnection, user: &User, password_hash: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        "update users set state = $3, epoch = $4, version = $5, password_hash = coalesce($6, password_hash)
         where account_id = $1 and id = $2",
        user.account_id,
        user.id,
        user.state.as_str_name(),
        user.epoch,
        user.version,
        password_hash,
    )
    .execute(tx)
    .instrument(span("update user"))
    .await?;
    Ok(())
}

/// Writes the role and the grants that a user has from now on. The row must be locked.
pub async fn set_role(tx: &mut PgConnection, user: &User) -> Result<(), Error> {
    let grants: Vec<String> = user.grants.iter().map(|grant| grant.as_str_name().to_owned()).collect();
    sqlx::query!(
        "update users set role = $3, grants = $4, epoch = $5, version = $6 where account_id = $1 and id = $2",
        user.account_id,
        user.id,
        user.role.as_str_name(),
        &grants,
        user.epoch,
        user.version,
    )
    .execute(tx)
    .instrument(span("set role"))
    .await?;
    Ok(())
}

/// Writes the address of a user. The row must be locked, and the address reserved.
pub async fn set_email(tx: &mut PgConnection, user: &User) -> Result<(), Error> {
    sqlx::query!(
        "update users set email = $3, version = $4 where account_id = $1 and id = $2",
        user.account_id,
        user.id,
        user.email,
        user.version,
    )
    .execute(tx)
    .instrument(span("set address"))
    .await?;
    Ok(())
}

/// The user of this id in the account.
pub async fn find(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<User>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, account_id, name, email, role, grants, language, state, password_hash is not null as "has_password!",
                  epoch, version, created_at as "created_at: jiff_sqlx::Timestamp",
                  first_name, last_name, phone, picture_large, picture_small, picture_id
           from users where account_id = $1 and id = $2"#,
        account,
        id,
    )
    .fetch_optional(tx)
    .instrument(span("find user"))
    .await?;
    row.map(User::try_from).transpose()
}

/// The same, kept from changing until the transaction ends; others may read and lock it the same way.
pub async fn find_for_share(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<User>, Error> {
    sqlx::query!("select id from users where account_id = $1 and id = $2 for share", account, id)
        .fetch_optional(&mut *tx)
        .instrument(span("lock user for share"))
        .await?;
    find(tx, account, id).await
}

/// The same, to be changed: whoever else wants to change him waits until the transaction ends.
pub async fn find_for_update(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<User>, Error> {
    sqlx::query!("select id from users where account_id = $1 and id = $2 for no key update", account, id)
        .fetch_optional(&mut *tx)
        .instrument(span("lock user"))
        .await?;
    find(tx, account, id).await
}

/// Locks users for a change, always in the order of their ids, so that two who need the same ones cannot wait for each other.
pub async fn lock_all(tx: &mut PgConnection, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    sqlx::query!(
        "select id from users where account_id = $1 and id = any ($2) order by id for no key update",
        account,
        ids,
    )
    .fetch_all(tx)
    .instrument(span("lock users"))
    .await?;
    Ok(())
}

/// What a sign-in is checked against: the state and the password hash.
pub async fn credentials(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
) -> Result<Option<(UserState, Option<String>)>, Error> {
    let row = sqlx::query!("select state, password_hash from users where account_id = $1 and id = $2", account, id)
        .fetch_optional(tx)
        .instrument(span("get credentials"))
        .await?;
    let state = |name: &str| UserState::from_str_name(name).ok_or(Error::Unreadable("state"));
    row.map(|row| Ok((state(&row.state)?, row.password_hash))).transpose()
}

/// Users of an account by the time they were added; those in one state only, where one is given.
pub async fn list(
    tx: &mut PgConnection,
    account: Uuid,
    state: Option<UserState>,
    after: Option<&(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<User>, Error> {
    let (time, id) = after.map(|(time, id)| (time.to_sqlx(), *id)).unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, account_id, name, email, role, grants, language, state, password_hash is not null as "has_password!",
                  epoch, version, created_at as "created_at: jiff_sqlx::Timestamp",
                  first_name, last_name, phone, picture_large, picture_small, picture_id
           from users
           where account_id = $1 and ($2::timestamptz is null or (created_at, id) > ($2, $3))
                 and ($5::text is null or state = $5)
           order by created_at, id limit $4"#,
        account,
        time as _,
        id,
        limit,
        state.map(|state| state.as_str_name()),
    )
    .fetch_all(tx)
    .instrument(span("list users"))
    .await?;
    rows.into_iter().map(User::try_from).collect()
}
