//! Who is there: live sessions, and the availability that follows from them.

use std::time::Duration;

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use diwan_runtime::clock::after;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{Error, domain::state::Availability};

/// The availability of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    pub user: Uuid,
    pub state: Availability,
    pub since: Timestamp,
    pub version: i64,
}

impl Presence {
    /// As the protocol shows it.
    pub fn to_proto(self) -> proto::Availability {
        proto::Availability {
            user_id: self.user.to_string(),
            state: self.state.to_proto().into(),
            since: Some(to_proto(self.since)),
        }
    }
}

fn presence(user: Uuid, state: &str, since: SqlTimestamp, version: i64) -> Result<Presence, Error> {
    let state = Availability::of_name(state).ok_or(Error::Unknown("availability"))?;
    Ok(Presence { user, state, since: since.to_jiff(), version })
}

/// A user's availability, locked.
pub async fn lock(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<Option<Presence>, Error> {
    let row = sqlx::query!(
        r#"select state, since as "since: SqlTimestamp", version from presence
           where account_id = $1 and user_id = $2 for update"#,
        account,
        user
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("lock presence"))
    .await?;
    row.map(|row| presence(user, &row.state, row.since, row.version)).transpose()
}

/// Keeps a user's availability as it is until this transaction ends. His slots are locked by the caller.
pub async fn share(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!("select from presence where account_id = $1 and user_id = $2 for share", account, user)
        .fetch_optional(tx)
        .instrument(diwan_store::span("share presence"))
        .await?;
    Ok(())
}

/// A user's availability; `None` while he has never had a live session.
pub async fn of(pool: &PgPool, account: Uuid, user: Uuid) -> Result<Option<Presence>, Error> {
    let row = sqlx::query!(
        r#"select state, since as "since: SqlTimestamp", version from presence where account_id = $1 and user_id = $2"#,
        account,
        user
    )
    .fetch_optional(pool)
    .instrument(diwan_store::span("read presence"))
    .await?;
    row.map(|row| presence(user, &row.state, row.since, row.version)).transpose()
}

/// Sets a user's availability. His slots are locked by the caller.
pub async fn set(
    tx: &mut Tx,
    account: Uuid,
    user: Uuid,
    state: Availability,
    now: Timestamp,
) -> Result<Presence, Error> {
    let row = sqlx::query!(
        r#"insert into presence as known (account_id, user_id, state, since, version) values ($1, $2, $3, $4, 1)
           on conflict (account_id, user_id) do update
               set state = excluded.state, since = excluded.since, version = known.version + 1
           returning state, since as "since: SqlTimestamp", version"#,
        account,
        user,
        state.name(),
        now.to_sqlx() as _
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("set presence"))
    .await?;
    presence(user, &row.state, row.since, row.version)
}

/// Notes what somebody chose in one of his sign-ins, or what was chosen for him: it holds in each in which he is there. His presence is locked.
pub async fn choose(
    tx: &mut Tx,
    account: Uuid,
    user: Uuid,
    state: Availability,
    sign_in: Option<Uuid>,
) -> Result<(), Error> {
    sqlx::query!(
        "update presence p
         set chosen = case when his.sign_ins <> '{}' then $3::text end, sign_ins = his.sign_ins
         from (select array(select $4::uuid where $4 is not null union
                            select sign_in from live_sessions
                            where account_id = $1 and user_id = $2 and sign_in is not null) as sign_ins) his
         where p.account_id = $1 and p.user_id = $2",
        account,
        user,
        state.name(),
        sign_in
    )
    .execute(tx)
    .instrument(diwan_store::span("note choice"))
    .await?;
    Ok(())
}

/// A sign-in begins to be there while its user is what he chose: his choice holds in it too. His presence is locked.
pub async fn adopt(tx: &mut Tx, account: Uuid, user: Uuid, sign_in: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "update presence set sign_ins = sign_ins || $3::uuid
         where account_id = $1 and user_id = $2 and chosen = state and $3 <> all (sign_ins)",
        account,
        user,
        sign_in
    )
    .execute(tx)
    .instrument(diwan_store::span("adopt choice"))
    .await?;
    Ok(())
}

/// A sign-in has ended: its live sessions, and what was chosen where this was the last one that it held in. His presence is locked.
pub async fn end_sign_in(tx: &mut Tx, account: Uuid, user: Uuid, sign_in: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into ended_sign_ins (account_id, sign_in, ended_at) values ($1, $2, $3) on conflict do nothing",
        account,
        sign_in,
        now.to_sqlx() as _
    )
    .execute(&mut *tx)
    .instrument(diwan_store::span("note ended sign-in"))
    .await?;
    sqlx::query!(
        "delete from live_sessions where account_id = $1 and user_id = $2 and sign_in = $3",
        account,
        user,
        sign_in
    )
    .execute(&mut *tx)
    .instrument(diwan_store::span("end sessions of sign-in"))
    .await?;
    sqlx::query!(
        "update presence set sign_ins = array_remove(sign_ins, $3),
                chosen = case when array_remove(sign_ins, $3) = '{}' then null else chosen end
         where account_id = $1 and user_id = $2 and $3 = any (sign_ins)",
        account,
        user,
        sign_in
    )
    .execute(tx)
    .instrument(diwan_store::span("forget choice"))
    .await?;
    Ok(())
}

/// Refuses a sign-in that has ended, whose access tokens may still be good for a moment. Its user is held by the caller, as he is by
/// whoever ends it.
///
/// # Errors
/// [`Error::SignedOut`].
pub async fn require_signed_in(tx: &mut Tx, account: Uuid, sign_in: Uuid) -> Result<(), Error> {
    let ended = sqlx::query!("select from ended_sign_ins where account_id = $1 and sign_in = $2", account, sign_in)
        .fetch_optional(tx)
        .instrument(diwan_store::span("look for ended sign-in"))
        .await?;
    if ended.is_some() { Err(Error::SignedOut) } else { Ok(()) }
}

/// Forgets the sign-ins that ended before `oldest`.
pub async fn purge_ended(pool: &PgPool, oldest: Timestamp) -> Result<(), Error> {
    sqlx::query!("delete from ended_sign_ins where ended_at < $1", oldest.to_sqlx() as _)
        .execute(pool)
        .instrument(diwan_store::span("purge ended sign-ins"))
        .await?;
    Ok(())
}

/// What somebody chose that holds in this sign-in, if anything.
pub async fn chosen(tx: &mut Tx, account: Uuid, user: Uuid, sign_in: Uuid) -> Result<Option<Availability>, Error> {
    let chosen = sqlx::query_scalar!(
        r#"select chosen as "chosen!" from presence where account_id = $1 and user_id = $2 and $3 = any (sign_ins) and chosen is not null"#,
        account,
        user,
        sign_in
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("read choice"))
    .await?;
    chosen.map(|name| Availability::of_name(&name).ok_or(Error::Unknown("availability"))).transpose()
}

/// Who of an account is not OFFLINE.
pub async fn list(pool: &PgPool, account: Uuid) -> Result<Vec<Presence>, Error> {
    let rows = sqlx::query!(
        r#"select user_id, state, since as "since: SqlTimestamp", version from presence
           where account_id = $1 and state <> 'OFFLINE' order by user_id"#,
        account
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list presence"))
    .await?;
    rows.into_iter().map(|row| presence(row.user_id, &row.state, row.since, row.version)).collect()
}

/// A live session that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    /// Of a stream, its own; of heartbeats, that of the sign-in.
    pub id: Uuid,
    /// The sign-in that it belongs to.
    pub sign_in: Uuid,
    /// Until when it lives unless it is extended.
    pub lease_until: Timestamp,
}

/// Starts a live session, or goes on with that of earlier heartbeats.
pub async fn start_session(tx: &mut Tx, account: Uuid, user: Uuid, new: NewSession) -> Result<(), Error> {
    sqlx::query!(
        "insert into live_sessions as known (account_id, id, user_id, sign_in, lease_until) values ($1, $2, $3, $4, $5)
         on conflict (account_id, id) do update set lease_until = excluded.lease_until where known.user_id = excluded.user_id",
        account,
        new.id,
        user,
        new.sign_in,
        new.lease_until.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("start session"))
    .await?;
    Ok(())
}

/// Extends live sessions of this process, all of one account, and returns those that there still are. They are locked by id, as by
/// [`forget_sessions`].
pub async fn extend_sessions(
    pool: &PgPool,
    account: Uuid,
    sessions: &[Uuid],
    until: Timestamp,
) -> Result<Vec<Uuid>, Error> {
    let alive = sqlx::query_scalar!(
        "with mine as materialized (
             select id from live_sessions where account_id = $1 and id = any($2) order by id for no key update)
         update live_sessions s set lease_until = $3 from mine where s.account_id = $1 and s.id = mine.id returning s.id",
        account,
        sessions,
        until.to_sqlx() as _
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("extend sessions"))
    .await?;
    Ok(alive)
}

/// Extends the live session of heartbeats, or cuts it short when the client is back from the background. `None`: there is none, or its
/// user is OFFLINE all the same, so that he has to enter.
pub async fn beat(
    pool: &PgPool,
    account: Uuid,
    (user, sign_in): (Uuid, Uuid),
    until: Timestamp,
) -> Result<Option<Presence>, Error> {
    let row = sqlx::query!(
        r#"update live_sessions s set lease_until = $4
           from presence p
           where s.account_id = $1 and s.id = $3 and s.user_id = $2
             and p.account_id = $1 and p.user_id = $2 and p.state <> 'OFFLINE'
           returning p.state, p.since as "since: SqlTimestamp", p.version"#,
        account,
        user,
        sign_in,
        until.to_sqlx() as _
    )
    .fetch_optional(pool)
    .instrument(diwan_store::span("beat"))
    .await?;
    row.map(|row| presence(user, &row.state, row.since, row.version)).transpose()
}

/// A stream has ended: the grace period begins now.
pub async fn end_session(pool: &PgPool, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update live_sessions set lease_until = least(lease_until, $3) where account_id = $1 and id = $2",
        account,
        id,
        now.to_sqlx() as _
    )
    .execute(pool)
    .instrument(diwan_store::span("end session"))
    .await?;
    Ok(())
}

/// Forgets the sessions of a user, all of them or those over by `over_by`.
pub async fn forget_sessions(tx: &mut Tx, account: Uuid, user: Uuid, over_by: Option<Timestamp>) -> Result<(), Error> {
    sqlx::query!(
        "with over as materialized (
             select id from live_sessions
             where account_id = $1 and user_id = $2 and ($3::timestamptz is null or lease_until <= $3)
             order by id for update)
         delete from live_sessions s using over where s.account_id = $1 and s.id = over.id",
        account,
        user,
        over_by.map(Timestamp::to_sqlx) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("forget sessions"))
    .await?;
    Ok(())
}

/// Whether a user has a session that lives, or ended less than `grace` ago.
pub async fn is_live(tx: &mut Tx, account: Uuid, user: Uuid, grace: Duration, now: Timestamp) -> Result<bool, Error> {
    // lease + grace > now, without arithmetic on intervals.
    let horizon = before(now, grace);
    let live = sqlx::query_scalar!(
        r#"select exists (select from live_sessions
                          where account_id = $1 and user_id = $2 and lease_until > $3) as "live!""#,
        account,
        user,
        horizon.to_sqlx() as _
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("look for live session"))
    .await?;
    Ok(live)
}

/// Who is not OFFLINE although his last session has been over for the grace period.
pub async fn gone(pool: &PgPool, grace: Duration, now: Timestamp) -> Result<Vec<(Uuid, Uuid)>, Error> {
    // Both are read once: a look into the sessions for each who is there costs several times as much.
    let rows = sqlx::query!(
        r#"select account_id as "account_id!", user_id as "user_id!" from presence where state <> 'OFFLINE'
           except
           select account_id, user_id from live_sessions where lease_until > $1
           limit 500"#,
        before(now, grace).to_sqlx() as _
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find gone users"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.user_id)).collect())
}

/// `now` minus `grace`: a lease that ended by then has been over for the grace period.
pub fn before(now: Timestamp, grace: Duration) -> Timestamp {
    now.checked_sub(grace).unwrap_or(Timestamp::MIN)
}

/// Until when a lease taken now is good.
pub fn lease(now: Timestamp, length: Duration) -> Timestamp {
    after(now, length)
}
