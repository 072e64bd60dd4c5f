//! Subscriptions.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::domain::{State, Subscription};

/// Starts a trial, unless the account has a subscription; whether it did.
pub(crate) async fn start_trial(
    tx: &mut PgConnection,
    account: Uuid,
    plan: &str,
    seats: i32,
    now: Timestamp,
    ends_at: Timestamp,
) -> Result<bool, Error> {
    let started = sqlx::query!(
        "insert into subscriptions (account_id, plan, state, seats, trial_ends_at, version, created_at)
         values ($1, $2, 'TRIAL', $3, $4, 1, $5)
         on conflict (account_id) do nothing",
        account,
        plan,
        seats,
        ends_at.to_sqlx(),
        now.to_sqlx(),
    )
    .execute(tx)
    .instrument(span("start trial"))
    .await?;
    Ok(started.rows_affected() == 1)
}

/// The subscription of an account.
pub(crate) async fn find(
    connection: &mut PgConnection,
    account: Uuid,
    now: Timestamp,
) -> Result<Option<Subscription>, Error> {
    let row = sqlx::query!(
        r#"select plan, state, seats, trial_ends_at,
                  (select count(*)::integer from seats
                   where account_id = $1 and (lease_expires_at is null or lease_expires_at > $2)) as "seats_held!"
           from subscriptions where account_id = $1"#,
        account,
        now.to_sqlx(),
    )
    .fetch_optional(connection)
    .instrument(span("find subscription"))
    .await?;
    row.map(|row| {
        Ok(Subscription {
            account,
            plan: row.plan,
            state: state(&row.state)?,
            seats: row.seats,
            seats_held: row.seats_held,
            trial_ends_at: row.trial_ends_at.to_jiff(),
        })
    })
    .transpose()
}

/// The number of seats of an account's subscription, locked until the end of the transaction: whoever counts seats to
/// give one away or to take them back does it under this lock, one at a time.
pub(crate) async fn lock(tx: &mut PgConnection, account: Uuid) -> Result<Option<i32>, Error> {
    let seats = sqlx::query_scalar!("select seats from subscriptions where account_id = $1 for no key update", account)
        .fetch_optional(tx)
        .instrument(span("lock subscription"))
        .await?;
    Ok(seats)
}

/// Sets the number of seats.
pub(crate) async fn set_seats(tx: &mut PgConnection, account: Uuid, seats: i32) -> Result<(), Error> {
    sqlx::query!("update subscriptions set seats = $2, version = version + 1 where account_id = $1", account, seats)
        .execute(tx)
        .instrument(span("set seats"))
        .await?;
    Ok(())
}

fn state(text: &str) -> Result<State, Error> {
    match text {
        "TRIAL" => Ok(State::Trial),
        // Only a newer version of this service writes others.
        other => Err(Error::Sqlx(sqlx::Error::Decode(format!("subscriptions.state is {other}").into()))),
    }
}
