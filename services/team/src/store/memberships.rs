//! Who belongs to which team.

use diwan_runtime::ids;
use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::domain::Membership;

struct Row {
    id: Uuid,
    team_id: Uuid,
    user_id: Uuid,
    joined_at: SqlTimestamp,
    lead: bool,
    version: i64,
}

impl From<Row> for Membership {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            team: row.team_id,
            user: row.user_id,
            joined_at: row.joined_at.to_jiff(),
            lead: row.lead,
            version: row.version,
        }
    }
}

/// Makes a known user a member of a team that [`super::teams::hold`] holds; `None` when he is one already.
pub(crate) async fn join(
    tx: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<Option<Membership>, Error> {
    let joined = sqlx::query_as!(
        Row,
        "insert into memberships (account_id, team_id, user_id, id, joined_at, version) values ($1, $2, $3, $4, $5, 1)
         on conflict (account_id, team_id, user_id) do update
         set joined_at = excluded.joined_at, left_at = null, version = memberships.version + 1
         where memberships.left_at is not null
         returning id, team_id, user_id, joined_at, lead, version",
        account,
        team,
        user,
        ids::new_id(),
        now.to_sqlx(),
    )
    .fetch_optional(tx)
    .instrument(span("join team"))
    .await?;
    Ok(joined.map(Membership::from))
}

/// Takes a user out of a team; `None` when he is no member.
pub(crate) async fn leave(
    tx: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    now: Timestamp,
) -> Result<Option<Membership>, Error> {
    let left = sqlx::query_as!(
        Row,
        "update memberships set left_at = $4, lead = false, version = version + 1
         where account_id = $1 and team_id = $2 and user_id = $3 and left_at is null
         returning id, team_id, user_id, joined_at, lead, version",
        account,
        team,
        user,
        now.to_sqlx(),
    )
    .fetch_optional(tx)
    .instrument(span("leave team"))
    .await?;
    Ok(left.map(Membership::from))
}

/// Gives a member the mark of a lead or takes it from him; `None` when it is so already, or he is no member.
pub(crate) async fn set_lead(
    tx: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    lead: bool,
) -> Result<Option<Membership>, Error> {
    let marked = sqlx::query_as!(
        Row,
        "update memberships set lead = $4, version = version + 1
         where account_id = $1 and team_id = $2 and user_id = $3 and left_at is null and lead <> $4
         returning id, team_id, user_id, joined_at, lead, version",
        account,
        team,
        user,
        lead,
    )
    .fetch_optional(tx)
    .instrument(span("mark lead"))
    .await?;
    Ok(marked.map(Membership::from))
}

/// Which of these teams a user leads.
pub(crate) async fn led(
    connection: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    teams: &[Uuid],
) -> Result<Vec<Uuid>, Error> {
    let led = sqlx::query_scalar!(
        "select team_id from memberships where account_id = $1 and user_id = $2 and team_id = any($3) and left_at is null and lead
         order by team_id",
        account,
        user,
        teams,
    )
    .fetch_all(connection)
    .instrument(span("find led teams"))
    .await?;
    Ok(led)
}

/// The membership of a user in a team.
pub(crate) async fn find(
    connection: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    user: Uuid,
) -> Result<Option<Membership>, Error> {
    let found = sqlx::query_as!(
        Row,
        "select id, team_id, user_id, joined_at, lead, version from memberships
         where account_id = $1 and team_id = $2 and user_id = $3 and left_at is null",
        account,
        team,
        user,
    )
    .fetch_optional(connection)
    .instrument(span("find membership"))
    .await?;
    Ok(found.map(Membership::from))
}

/// The memberships of a user in active teams, by the teams' ids.
pub(crate) async fn of_user(
    connection: &mut PgConnection,
    account: Uuid,
    user: Uuid,
) -> Result<Vec<Membership>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "select m.id, m.team_id, m.user_id, m.joined_at, m.lead, m.version
         from memberships m join teams t on t.account_id = m.account_id and t.id = m.team_id
         where m.account_id = $1 and m.user_id = $2 and m.left_at is null and t.archived_at is null order by m.team_id",
        account,
        user,
    )
    .fetch_all(connection)
    .instrument(span("list memberships of user"))
    .await?;
    Ok(rows.into_iter().map(Membership::from).collect())
}

/// Whether a user belongs to any active team.
pub(crate) async fn has_any(connection: &mut PgConnection, account: Uuid, user: Uuid) -> Result<bool, Error> {
    let found = sqlx::query!(
        "select from memberships join teams on teams.account_id = memberships.account_id and teams.id = team_id
         where memberships.account_id = $1 and user_id = $2 and left_at is null and archived_at is null
         limit 1",
        account,
        user,
    )
    .fetch_optional(connection)
    .instrument(span("find any membership"))
    .await?;
    Ok(found.is_some())
}

/// The members of a team by the time they joined, after the one of `after`.
pub(crate) async fn list(
    connection: &mut PgConnection,
    account: Uuid,
    team: Uuid,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<Vec<Membership>, Error> {
    let (joined_at, user) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        "select id, team_id, user_id, joined_at, lead, version from memberships
         where account_id = $1 and team_id = $2 and left_at is null
           and ($3::timestamptz is null or (joined_at, user_id) > ($3, $4::uuid))
         order by joined_at, user_id limit $5",
        account,
        team,
        joined_at.map(ToSqlx::to_sqlx),
        user,
        limit,
    )
    .fetch_all(connection)
    .instrument(span("list memberships"))
    .await?;
    Ok(rows.into_iter().map(Membership::from).collect())
}
