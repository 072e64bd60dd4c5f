//! What each agent holds in each team.

use jiff_sqlx::Timestamp as SqlTimestamp;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, jiff};
use crate::{
    Error,
    domain::{routing::Agent, state::Availability},
};

/// Takes in whether a user is a member of a team, and leads it. Returns whether he was a member before, his slot being locked then;
/// `None`: a newer version is known.
pub async fn set_member(
    tx: &mut Tx,
    account: Uuid,
    (team, user): (Uuid, Uuid),
    version: i64,
    (member, lead): (bool, bool),
) -> Result<Option<bool>, Error> {
    let was = sqlx::query_scalar!(
        "select member from slots where account_id = $1 and team_id = $2 and user_id = $3 for no key update",
        account,
        team,
        user
    )
    .fetch_optional(&mut *tx)
    .instrument(diwan_store::span("lock slot of member"))
    .await?;
    let taken = sqlx::query!(
        "insert into slots as known (account_id, team_id, user_id, member, membership_version, lead)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (account_id, team_id, user_id) do update
             set member = excluded.member, membership_version = excluded.membership_version, lead = excluded.lead
         where known.membership_version < excluded.membership_version",
        account,
        team,
        user,
        member,
        version,
        member && lead
    )
    .execute(tx)
    .instrument(diwan_store::span("set member"))
    .await?;
    Ok((taken.rows_affected() == 1).then_some(was == Some(true)))
}

/// Locks one slot and returns its open count. There is one for whoever takes a conversation, member or not.
pub async fn lock(tx: &mut Tx, account: Uuid, team: Uuid, user: Uuid) -> Result<i32, Error> {
    let count = sqlx::query_scalar!(
        "insert into slots as known (account_id, team_id, user_id, member) values ($1, $2, $3, false)
         on conflict (account_id, team_id, user_id) do update set open_count = known.open_count
         returning open_count",
        account,
        team,
        user
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("lock slot"))
    .await?;
    Ok(count)
}

/// Whether there is a slot. It stays for ever.
pub async fn exists(tx: &mut Tx, account: Uuid, team: Uuid, user: Uuid) -> Result<bool, Error> {
    let found =
        sqlx::query!("select from slots where account_id = $1 and team_id = $2 and user_id = $3", account, team, user)
            .fetch_optional(tx)
            .instrument(diwan_store::span("look for slot"))
            .await?;
    Ok(found.is_some())
}

/// Locks every slot of a user and returns their teams.
pub async fn lock_of_user(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<Vec<Uuid>, Error> {
    let teams = sqlx::query_scalar!(
        "select team_id from slots where account_id = $1 and user_id = $2 order by team_id for no key update",
        account,
        user
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("lock slots of user"))
    .await?;
    Ok(teams)
}

/// The members of a team, or the one of them asked for, as the routing sees them.
pub async fn agents(tx: &mut Tx, account: Uuid, team: Uuid, only: Option<Uuid>) -> Result<Vec<Agent>, Error> {
    let rows = sqlx::query!(
        r#"select s.user_id, s.open_count, s.automatic_count, s.last_assigned_at as "last: SqlTimestamp",
                  coalesce(u.active, false) as "enabled!", coalesce(p.state, 'OFFLINE') as "availability!"
           from slots s
           left join users u on u.account_id = s.account_id and u.id = s.user_id
           left join presence p on p.account_id = s.account_id and p.user_id = s.user_id
           where s.account_id = $1 and s.team_id = $2 and s.member and ($3::uuid is null or s.user_id = $3)
           order by s.user_id"#,
        account,
        team,
        only
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read agents"))
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Agent {
                user: row.user_id,
                enabled: row.enabled,
                availability: Availability::of_name(&row.availability).ok_or(Error::Unknown("availability"))?,
                open: row.open_count,
                automatic: row.automatic_count,
                last: jiff(row.last),
            })
        })
        .collect()
}

/// Adds to the open count of a locked slot, or takes from it.
pub async fn add_open(tx: &mut Tx, account: Uuid, team: Uuid, user: Uuid, count: i32) -> Result<(), Error> {
    sqlx::query!(
        "update slots set open_count = open_count + $4 where account_id = $1 and team_id = $2 and user_id = $3",
        account,
        team,
        user,
        count
    )
    .execute(tx)
    .instrument(diwan_store::span("change open count"))
    .await?;
    Ok(())
}

/// Whoever becomes eligible starts at the minimum of the others, in one of his teams or in each: at his old count he would be
/// flooded, or starved. The caller holds the routing locks of these teams, so that the others' counts stand still.
pub async fn start_at_minimum(tx: &mut Tx, account: Uuid, user: Uuid, team: Option<Uuid>) -> Result<(), Error> {
    sqlx::query!(
        "update slots s set automatic_count = others.least
         from (select o.team_id, min(o.automatic_count) as least
               from slots o
               join presence p on p.account_id = o.account_id and p.user_id = o.user_id and p.state = 'ACTIVE'
               join users u on u.account_id = o.account_id and u.id = o.user_id and u.active
               where o.account_id = $1 and o.member and o.user_id <> $2
                 and o.team_id in (select team_id from slots where account_id = $1 and user_id = $2 and member)
                 and ($3::uuid is null or o.team_id = $3)
               group by o.team_id) others
         where s.account_id = $1 and s.user_id = $2 and s.member and s.team_id = others.team_id",
        account,
        user,
        team
    )
    .execute(tx)
    .instrument(diwan_store::span("start at minimum"))
    .await?;
    Ok(())
}

/// A team without a limit counts automatic assignments from the moment when it lost its limit: under a limit the counts grow
/// apart, and making up for that would flood whoever closes slowly.
pub async fn restart_counts(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<(), Error> {
    sqlx::query!("update slots set automatic_count = 0 where account_id = $1 and team_id = $2", account, team)
        .execute(tx)
        .instrument(diwan_store::span("restart counts"))
        .await?;
    Ok(())
}

/// The teams that a user belongs to.
pub async fn teams_of(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<Vec<Uuid>, Error> {
    let teams = sqlx::query_scalar!(
        "select team_id from slots where account_id = $1 and user_id = $2 and member",
        account,
        user
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read teams of user"))
    .await?;
    Ok(teams)
}
