//! What a replay of the routing needs besides decisions and transitions, written in the transactions of what it tells of.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{Error, domain::state::Priority};

/// Notes how the routing sees agents after something about them changed: one in each of his teams, one in one team, or everybody of a
/// team. `restart`: because everybody's counts started over.
pub async fn agents(
    tx: &mut Tx,
    account: Uuid,
    (team, user): (Option<Uuid>, Option<Uuid>),
    restart: bool,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into agent_history (account_id, team_id, user_id, at, member, enabled, availability, open_count, automatic_count,
                                    last_assigned_at, restart)
         select s.account_id, s.team_id, s.user_id, $4, s.member, coalesce(u.active, false), coalesce(p.state, 'OFFLINE'),
                s.open_count, s.automatic_count, s.last_assigned_at, $5
         from slots s
         left join users u on u.account_id = s.account_id and u.id = s.user_id
         left join presence p on p.account_id = s.account_id and p.user_id = s.user_id
         where s.account_id = $1 and ($2::uuid is null or s.team_id = $2) and ($3::uuid is null or s.user_id = $3)",
        account,
        team,
        user,
        now.to_sqlx() as _,
        restart
    )
    .execute(tx)
    .instrument(diwan_store::span("note agents"))
    .await?;
    Ok(())
}

/// Notes the settings of a team after they changed.
pub async fn team(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "insert into team_history (account_id, team_id, at, assignment_limit, working_hours, time_zone, archived)
         select account_id, id, $3, assignment_limit, working_hours, time_zone, receiving_id is not null
         from teams where account_id = $1 and id = $2",
        account,
        team,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("note team"))
    .await?;
    Ok(())
}

/// Notes that a conversation of a team became more urgent or less.
pub async fn priority(
    tx: &mut Tx,
    account: Uuid,
    (team, conversation): (Uuid, Uuid),
    (from, to): (Priority, Priority),
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into priority_history (account_id, team_id, conversation_id, at, from_priority, to_priority)
         values ($1, $2, $3, $4, $5, $6)",
        account,
        team,
        conversation,
        now.to_sqlx() as _,
        from.level(),
        to.level()
    )
    .execute(tx)
    .instrument(diwan_store::span("note priority"))
    .await?;
    Ok(())
}

/// Forgets what is from before `oldest`, at most `most` rows of each kind; the last of each agent and team stays. Returns how many.
pub async fn purge(pool: &PgPool, oldest: Timestamp, most: i64) -> Result<u64, Error> {
    let agents = sqlx::query!(
        "delete from agent_history where (account_id, team_id, user_id, id) in
             (select account_id, team_id, user_id, id from agent_history h
              where at < $1 and exists (select from agent_history l
                                        where l.account_id = h.account_id and l.team_id = h.team_id and l.user_id = h.user_id
                                          and l.id > h.id and l.at < $1)
              limit $2 for update skip locked)",
        oldest.to_sqlx() as _,
        most
    )
    .execute(pool)
    .instrument(diwan_store::span("purge history of agents"))
    .await?;
    let teams = sqlx::query!(
        "delete from team_history where (account_id, team_id, id) in
             (select account_id, team_id, id from team_history h
              where at < $1 and exists (select from team_history l
                                        where l.account_id = h.account_id and l.team_id = h.team_id and l.id > h.id and l.at < $1)
              limit $2 for update skip locked)",
        oldest.to_sqlx() as _,
        most
    )
    .execute(pool)
    .instrument(diwan_store::span("purge history of teams"))
    .await?;
    let priorities = sqlx::query!(
        "delete from priority_history where (account_id, team_id, id) in
             (select account_id, team_id, id from priority_history where at < $1 limit $2 for update skip locked)",
        oldest.to_sqlx() as _,
        most
    )
    .execute(pool)
    .instrument(diwan_store::span("purge history of priorities"))
    .await?;
    Ok(agents.rows_affected() + teams.rows_affected() + priorities.rows_affected())
}
