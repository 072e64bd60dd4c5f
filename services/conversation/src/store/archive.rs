//! Teams that are archived: where what arrives for them goes, and how far their conversations have moved.
//!
//! Invariant: nothing that is not closed is with a team whose `archived` is set. Whatever comes to a team from elsewhere holds its row
//! ([`resolve`], "for key share"), which the one transaction that sets the flag ([`finish`], "for update") waits for, and that one looks
//! for what is left after it has the lock.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// The team that something for `team` goes to: itself, or where it is archived the one that has taken its place. It stays active until
/// this transaction ends. `None`: the team is not known yet.
///
/// An archived team itself is not locked: whoever leaves it aside needs it not to stay so.
pub async fn resolve(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<Uuid>, Error> {
    let mut seen = vec![team];
    loop {
        let at = seen[seen.len() - 1];
        let active = sqlx::query_scalar!(
            "select id from teams where account_id = $1 and id = $2 and receiving_id is null for key share",
            account,
            at
        )
        .fetch_optional(&mut *tx)
        .instrument(diwan_store::span("share active team"))
        .await?;
        if active.is_some() {
            return Ok(active);
        }
        match heir(tx, account, at).await? {
            Some(Some(heir)) if !seen.contains(&heir) => seen.push(heir),
            None if seen.len() == 1 => return Ok(None),
            // It came back between the two: look again. Heirs that lead in a circle or nowhere exist only between two events.
            _ => return Err(super::lost_race(tx).await),
        }
    }
}

async fn heir(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<Option<Uuid>>, Error> {
    let heir = sqlx::query_scalar!("select receiving_id from teams where account_id = $1 and id = $2", account, team)
        .fetch_optional(tx)
        .instrument(diwan_store::span("read receiving team"))
        .await?;
    Ok(heir)
}

/// Notes which team receives, if one does; `None`: the team is active. Its row is locked by the caller. Returns whether that is new.
pub async fn set(tx: &mut Tx, account: Uuid, team: Uuid, heir: Option<Uuid>, now: Timestamp) -> Result<bool, Error> {
    let set = sqlx::query!(
        "update teams set receiving_id = $3, archived = archived and $3::uuid is not null,
                archive_started_at = case when receiving_id is null then $4 else archive_started_at end,
                archive_finished_at = case when receiving_id is null then null else archive_finished_at end,
                archive_moved = case when receiving_id is null then 0 else archive_moved end
         where account_id = $1 and id = $2 and receiving_id is distinct from $3",
        account,
        team,
        heir,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("set receiving team"))
    .await?;
    Ok(set.rows_affected() == 1)
}

/// Teams whose conversations move: of each account one, which one is chance, as is whose turn it is where there are many. So no account
/// and no team waits for another one to be through.
pub async fn moving(pool: &PgPool, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, id
         from (select distinct on (account_id) account_id, id from teams where receiving_id is not null and not archived
               order by account_id, random()) moving
         order by random() limit $1",
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find moving teams"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// Locks the routing of a team whose conversations move. `None`: they do not, or somebody else is at it.
pub async fn lock(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<()>, Error> {
    let row = sqlx::query!(
        "select from teams where account_id = $1 and id = $2 and receiving_id is not null and not archived
         for no key update skip locked",
        account,
        team
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("lock moving team"))
    .await?;
    Ok(row.map(drop))
}

/// Some of what is left with a team, what waits in the queue first and in its order. Nothing is locked. Each part has an index of its
/// own: whoever holds or held something of a team has a slot there.
pub async fn left(tx: &mut Tx, account: Uuid, team: Uuid, most: i64) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id!" from (
               (select id from conversations where account_id = $1 and team_id = $2 and state = 'QUEUED'
                order by priority desc, queued_at, id limit $3)
               union all
               (select c.id from slots s
                join conversations c on c.account_id = s.account_id and c.holder_id = s.user_id and c.team_id = s.team_id
                where s.account_id = $1 and s.team_id = $2 limit $3)
               union all
               (select id from conversations where account_id = $1 and team_id = $2 and state = 'BOT' limit $3)) parts
           limit $3"#,
        account,
        team,
        most
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("find what is left"))
    .await?;
    Ok(ids)
}

/// Those of these users who are members of a team. Their slots are locked by the caller, who else asks again.
pub async fn members(tx: &mut Tx, account: Uuid, team: Uuid, users: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    let members = sqlx::query_scalar!(
        "select user_id from slots where account_id = $1 and team_id = $2 and member and user_id = any($3)",
        account,
        team,
        users
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("find members among holders"))
    .await?;
    Ok(members)
}

/// Moves conversations, whose rows are locked, to another team: those marked so keep holder and state, what is with a bot stays there,
/// the others wait in the queue, as long as they have.
pub async fn relocate(
    tx: &mut Tx,
    account: Uuid,
    to: Uuid,
    (ids, kept): (&[Uuid], &[bool]),
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "update conversations c
         set team_id = $2, version = c.version + 1,
             state = case when d.kept then c.state else 'QUEUED' end,
             holder_id = case when d.kept then c.holder_id end,
             queued_at = case when d.kept then c.queued_at else coalesce(c.queued_at, $5) end,
             snoozed_until = case when d.kept then c.snoozed_until end,
             wait_alerted = c.wait_alerted and c.state = 'QUEUED'
         from unnest($3::uuid[], $4::boolean[]) as d (id, kept)
         where c.account_id = $1 and c.id = d.id",
        account,
        to,
        ids,
        kept,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("move conversations"))
    .await?;
    Ok(())
}

/// Adds to what has moved. The team is locked.
pub async fn count(tx: &mut Tx, account: Uuid, team: Uuid, moved: i32) -> Result<(), Error> {
    sqlx::query!(
        "update teams set archive_moved = archive_moved + $3 where account_id = $1 and id = $2",
        account,
        team,
        moved
    )
    .execute(tx)
    .instrument(diwan_store::span("count moved"))
    .await?;
    Ok(())
}

/// Says of an archived team that nothing is left with it, if that is so. Whether there is nothing more to do.
pub async fn finish(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<bool, Error> {
    let locked = sqlx::query!(
        "select from teams where account_id = $1 and id = $2 and receiving_id is not null and not archived for update",
        account,
        team
    )
    .fetch_optional(&mut *tx)
    .instrument(diwan_store::span("lock emptied team"))
    .await?;
    if locked.is_none() {
        return Ok(true);
    }
    // A statement of its own, after the lock: it sees what came before the lock was granted.
    let finished = sqlx::query!(
        "update teams set archived = true, archive_finished_at = $3
         where account_id = $1 and id = $2
           and not exists (select from conversations
                           where account_id = $1 and team_id = $2 and state in ('BOT', 'QUEUED', 'OPEN', 'SNOOZED'))",
        account,
        team,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("finish archiving"))
    .await?;
    Ok(finished.rows_affected() == 1)
}

/// How far the conversations of a team have moved.
#[derive(Clone, Debug)]
pub struct Progress {
    pub receiving_id: Option<Uuid>,
    pub archived: bool,
    pub moved: i32,
    pub left: i64,
    pub started_at: Option<SqlTimestamp>,
    pub finished_at: Option<SqlTimestamp>,
}

/// That of one team; `None`: there is no such team.
pub async fn progress(pool: &PgPool, account: Uuid, team: Uuid) -> Result<Option<Progress>, Error> {
    let found = sqlx::query_as!(
        Progress,
        r#"select receiving_id, archived, archive_moved as moved, archive_started_at as "started_at: SqlTimestamp",
                  archive_finished_at as "finished_at: SqlTimestamp",
                  (select count(*) from conversations
                   where account_id = $1 and team_id = $2 and state in ('BOT', 'QUEUED', 'OPEN', 'SNOOZED')) as "left!"
           from teams where account_id = $1 and id = $2"#,
        account,
        team
    )
    .fetch_optional(pool)
    .instrument(diwan_store::span("read archive progress"))
    .await?;
    Ok(found)
}

/// What archiving a team in favour of another would move, and what that one can take.
#[derive(Clone, Debug)]
pub struct Preview {
    pub conversations: i64,
    pub with_holder: i64,
    pub members: i64,
    pub joining: i64,
    pub receivers: i64,
    /// `None`: the receiving team has no limit.
    pub free: Option<i64>,
    pub queue: i64,
}

/// That of `team` in favour of `to`; `None`: one of them is not known or not active.
pub async fn preview(pool: &PgPool, account: Uuid, team: Uuid, to: Uuid) -> Result<Option<Preview>, Error> {
    let found = sqlx::query_as!(
        Preview,
        r#"with
           unclosed as (
               select c.state, c.holder_id, coalesce(s.member, false) as kept
               from conversations c
               left join slots s on s.account_id = c.account_id and s.team_id = $3 and s.user_id = c.holder_id
               where c.account_id = $1 and c.team_id = $2 and c.state in ('BOT', 'QUEUED', 'OPEN', 'SNOOZED')),
           members as (select user_id from slots where account_id = $1 and team_id = $2 and member),
           receivers as (
               select s.open_count + (select count(*) from unclosed
                                      where holder_id = s.user_id and kept and state = 'OPEN') as open
               from slots s
               join presence p on p.account_id = s.account_id and p.user_id = s.user_id and p.state = 'ACTIVE'
               join users u on u.account_id = s.account_id and u.id = s.user_id and u.active
               where s.account_id = $1 and s.team_id = $3 and s.member)
           select (select count(*) from unclosed) as "conversations!",
                  (select count(*) from unclosed where kept) as "with_holder!",
                  (select count(*) from members) as "members!",
                  (select count(*) from members m
                   where not exists (select from slots s join teams o on o.account_id = s.account_id and o.id = s.team_id
                                     where s.account_id = $1 and s.user_id = m.user_id and s.member and s.team_id <> $2
                                       and o.receiving_id is null)) as "joining!",
                  (select count(*) from receivers) as "receivers!",
                  case when r.assignment_limit > 0
                       then (select coalesce(sum(greatest(r.assignment_limit - open, 0)), 0)::bigint from receivers)
                  end as free,
                  (select count(*) from conversations
                   where account_id = $1 and team_id = $3 and state = 'QUEUED') as "queue!"
           from teams t join teams r on r.account_id = t.account_id and r.id = $3 and r.receiving_id is null
           where t.account_id = $1 and t.id = $2 and t.receiving_id is null and $2 <> $3::uuid"#,
        account,
        team,
        to
    )
    .fetch_optional(pool)
    .instrument(diwan_store::span("preview archive"))
    .await?;
    Ok(found)
}
