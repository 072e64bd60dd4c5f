//! The teams, as the team service says.

use diwan_proto::team::v1::Team as ProtoTeam;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::{Error, domain::automatic_reply::AutomaticReply};

/// What the routing needs of a team.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Team {
    /// The most that one agent gets automatically; `None`: no limit.
    pub limit: Option<i32>,
    /// Of the team service.
    pub version: i64,
    /// Whether it closes nothing without a topic.
    pub topic_mandatory: bool,
    /// Whether a customer who is back goes to the agent whom he had last.
    pub sticky_owner: bool,
    /// Whether it has no working hours.
    pub always_open: bool,
    /// Whether another one has taken its place: see [`super::archive`].
    pub archived: bool,
    /// After how many minutes of work without an answer a conversation is offered to others; `None`: never.
    pub no_answer_minutes: Option<i32>,
    /// Whether what waits for an answer is offered to others when its holder has gone OFFLINE.
    pub reassign_when_offline: bool,
}

/// Reads what the routing needs of a team, with this lock.
macro_rules! team {
    ($tx:ident, $account:ident, $team:ident, $lock:tt) => {
        sqlx::query!(
            r#"select assignment_limit, version, topic_mandatory, sticky_owner, receiving_id is not null as "archived!",
                      working_hours is null as "always_open!",
                      no_answer_after_minutes, reassign_when_offline
               from teams where account_id = $1 and id = $2"#
                + $lock,
            $account,
            $team
        )
        .fetch_optional($tx)
        .instrument(diwan_store::span("read team"))
        .await?
        .map(|row| Team {
            limit: (row.assignment_limit > 0).then_some(row.assignment_limit),
            version: row.version,
            topic_mandatory: row.topic_mandatory,
            sticky_owner: row.sticky_owner,
            always_open: row.always_open,
            archived: row.archived,
            no_answer_minutes: (row.no_answer_after_minutes > 0).then_some(row.no_answer_after_minutes),
            reassign_when_offline: row.reassign_when_offline,
        })
    };
}

/// What a team changed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It had a limit and has none now.
    pub limit_lifted: bool,
    /// Its members see something else than before.
    pub visibility_changed: bool,
}

/// Takes in a team. `None`: a newer version is known.
///
/// The row's lock makes the deciders of this team wait: none of them decides on a limit that is about to change.
pub async fn upsert(
    tx: &mut Tx,
    account: Uuid,
    id: Uuid,
    version: i64,
    team: &ProtoTeam,
) -> Result<Option<Taken>, Error> {
    let limit = team.assignment_limit.max(0);
    let visibility = i16::try_from(team.visibility_level).unwrap_or_default().clamp(1, 4);
    let before = sqlx::query!(
        "select assignment_limit, visibility, wide_team_ids from teams where account_id = $1 and id = $2 for no key update",
        account,
        id
    )
    .fetch_optional(&mut *tx)
    .instrument(diwan_store::span("lock team"))
    .await?;
    let wide: Vec<Uuid> = team.wide_team_ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect();
    let taken = sqlx::query!(
        "insert into teams as known (account_id, id, assignment_limit, visibility, wide_team_ids, fallback, version,
                                     topic_mandatory, sticky_owner, wait_alert_seconds, no_answer_after_minutes,
                                     reassign_when_offline, automatic_reply)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (account_id, id) do update set assignment_limit = excluded.assignment_limit,
             visibility = excluded.visibility, wide_team_ids = excluded.wide_team_ids, fallback = excluded.fallback,
             version = excluded.version, topic_mandatory = excluded.topic_mandatory, sticky_owner = excluded.sticky_owner,
             wait_alert_seconds = excluded.wait_alert_seconds, no_answer_after_minutes = excluded.no_answer_after_minutes,
             reassign_when_offline = excluded.reassign_when_offline, automatic_reply = excluded.automatic_reply
         where known.version < excluded.version",
        account,
        id,
        limit,
        visibility,
        &wide,
        team.fallback,
        version,
        team.topic_mandatory,
        team.sticky_owner,
        team.wait_alert_seconds.max(0),
        team.no_answer_after_minutes.max(0),
        team.reassign_when_offline,
        AutomaticReply::of_proto(team.automatic_reply.as_ref()).map(Json) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("upsert team"))
    .await?;
    Ok((taken.rows_affected() == 1).then(|| Taken {
        limit_lifted: limit == 0 && before.as_ref().is_some_and(|before| before.assignment_limit > 0),
        visibility_changed: before.is_none_or(|before| (before.visibility, before.wide_team_ids) != (visibility, wide)),
    }))
}

/// Locks the routing of one team. `None`: the team is not known yet.
pub async fn lock(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<Team>, Error> {
    Ok(team!(tx, account, team, " for no key update"))
}

/// A team as it is now, without a lock. `None`: it is not known yet.
pub async fn find(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<Team>, Error> {
    Ok(team!(tx, account, team, ""))
}

/// An active team as it is now, without a lock: it may be archived at once afterwards.
///
/// # Errors
/// [`Error::TeamNotFound`].
pub async fn require(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Team, Error> {
    find(tx, account, team).await?.filter(|team| !team.archived).ok_or(Error::TeamNotFound)
}

/// Keeps the settings of a team as they are until this transaction ends.
pub async fn share(tx: &mut Tx, account: Uuid, team: Uuid) -> Result<Option<Team>, Error> {
    Ok(team!(tx, account, team, " for share"))
}

/// Locks the routing of every team that a user belongs to.
pub async fn lock_of_user(tx: &mut Tx, account: Uuid, user: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "select id from teams
         where account_id = $1
           and id in (select team_id from slots where account_id = $1 and user_id = $2 and member)
         order by id for no key update",
        account,
        user
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("lock teams of user"))
    .await?;
    Ok(())
}

/// Teams in which a conversation waits that somebody could take: what a lost wake-up may have missed, at most `most` of them.
/// It begins at who is there, so its cost does not grow with the teams nor with the queues; where nothing waits at all it costs nothing.
/// Each queue is looked at once, however many could take from it, and by the index of queues, whatever the planner knows of them: after a rush
/// it is full of what has gone.
pub async fn deliverable(pool: &sqlx::PgPool, now: Timestamp, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "with candidates as materialized (
             select distinct s.account_id, s.team_id
             from presence p
             join slots s on s.account_id = p.account_id and s.user_id = p.user_id and s.member
             join teams t on t.account_id = s.account_id and t.id = s.team_id
             join users u on u.account_id = p.account_id and u.id = p.user_id and u.active
             where (select true from conversations where state = 'QUEUED'
                    order by account_id, team_id, priority desc, queued_at, id limit 1)
               and p.state = 'ACTIVE'
               and (t.assignment_limit = 0 or s.open_count < t.assignment_limit)
               and (t.open or t.changes_at <= $2) and t.receiving_id is null)
         select s.account_id, s.team_id from candidates s
         where exists (select from conversations c
                       where c.account_id = s.account_id and c.team_id = s.team_id and c.state = 'QUEUED')
         limit $1",
        most,
        now.to_sqlx() as _
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find deliverable queues"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.team_id)).collect())
}
