//! Seats.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::domain::Seat;

struct Row {
    user_id: Uuid,
    taken_at: SqlTimestamp,
    lease_expires_at: Option<SqlTimestamp>,
}

impl From<Row> for Seat {
    fn from(row: Row) -> Self {
        Self {
            user: row.user_id,
            taken_at: row.taken_at.to_jiff(),
            lease_expires_at: row.lease_expires_at.map(SqlTimestamp::to_jiff),
        }
    }
}

/// Removes the seats whose leases have expired. Under [`super::subscriptions::lock`].
pub(crate) async fn remove_expired(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!("delete from seats where account_id = $1 and lease_expires_at <= $2", account, now.to_sqlx())
        .execute(tx)
        .instrument(span("remove expired seats"))
        .await?;
    Ok(())
}

/// Gives `user` a seat while fewer than `seats` others hold one; `None` when all are held.
///
/// No more than `seats` are ever held: every taker counts under [`super::subscriptions::lock`], so none counts before
/// another's seat is there to be seen. A seat held for good stays so: a late repetition of an invitation must not put an
/// end to the seat of somebody who has accepted it.
pub(crate) async fn take(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    seats: i32,
    now: Timestamp,
    lease_expires_at: Option<Timestamp>,
) -> Result<Option<Seat>, Error> {
    let row = sqlx::query_as!(
        Row,
        "insert into seats (account_id, user_id, taken_at, lease_expires_at)
         select $1, $2, $3, $4
         where (select count(*) from seats where account_id = $1 and user_id <> $2) < $5::integer
         on conflict (account_id, user_id) do update
         set lease_expires_at = case when seats.lease_expires_at is null then null else excluded.lease_expires_at end
         returning user_id, taken_at, lease_expires_at",
        account,
        user,
        now.to_sqlx(),
        lease_expires_at.map(ToSqlx::to_sqlx),
        seats,
    )
    .fetch_optional(tx)
    .instrument(span("take seat"))
    .await?;
    Ok(row.map(Seat::from))
}

/// Frees the seat of `user`, if he holds one.
pub(crate) async fn release(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from seats where account_id = $1 and user_id = $2", account, user)
        .execute(tx)
        .instrument(span("release seat"))
        .await?;
    Ok(())
}

/// How many seats are held.
pub(crate) async fn count(connection: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<i32, Error> {
    let held = sqlx::query_scalar!(
        r#"select count(*)::integer as "held!" from seats
           where account_id = $1 and (lease_expires_at is null or lease_expires_at > $2)"#,
        account,
        now.to_sqlx(),
    )
    .fetch_one(connection)
    .instrument(span("count seats"))
    .await?;
    Ok(held)
}

/// The seats that are held, by the time they were taken, after the one of `after`.
pub(crate) async fn list(
    connection: &mut PgConnection,
    account: Uuid,
    now: Timestamp,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Seat>, Error> {
    let (taken_at, user) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        "select user_id, taken_at, lease_expires_at from seats
         where account_id = $1 and (lease_expires_at is null or lease_expires_at > $2)
           and ($3::timestamptz is null or (taken_at, user_id) > ($3, $4::uuid))
         order by taken_at, user_id limit $5",
        account,
        now.to_sqlx(),
        taken_at.map(ToSqlx::to_sqlx),
        user,
        limit,
    )
    .fetch_all(connection)
    .instrument(span("list seats"))
    .await?;
    Ok(rows.into_iter().map(Seat::from).collect())
}
