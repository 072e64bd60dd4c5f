//! What archiving a team touches beside the team.

use diwan_store::{Error, span};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// Locks teams, whatever their state, so that nobody else holds or changes them. In the order of their ids: two that archive
/// teams in favour of each other wait instead of blocking one another.
pub(crate) async fn lock_all(tx: &mut PgConnection, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    sqlx::query!("select from teams where account_id = $1 and id = any($2) order by id for update", account, ids)
        .fetch_all(tx)
        .instrument(span("lock teams"))
        .await?;
    Ok(())
}

/// The teams that name `id`: as one whose conversations their members see, or as the one that has taken their place.
pub(crate) async fn naming(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id!" from teams where account_id = $1 and receiving_id = $2
           union
           select team_id from team_visible_teams where account_id = $1 and visible_team_id = $2
           order by 1"#,
        account,
        id,
    )
    .fetch_all(tx)
    .instrument(span("find teams that name it"))
    .await?;
    Ok(ids)
}

/// Whether the account has an active team beside `id`.
pub(crate) async fn has_other(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<bool, Error> {
    let other = sqlx::query!(
        "select from teams where account_id = $1 and id <> $2 and archived_at is null limit 1",
        account,
        id
    )
    .fetch_optional(tx)
    .instrument(span("find another team"))
    .await?;
    Ok(other.is_some())
}

/// Those members of a team who belong to no active team, or are deactivated, and whether it is the former. Their rows are locked: none of
/// them leaves or joins a team meanwhile.
pub(crate) async fn leaving(tx: &mut PgConnection, account: Uuid, team: Uuid) -> Result<Vec<(Uuid, bool)>, Error> {
    let members = sqlx::query_scalar!(
        "select members.user_id from members
         where account_id = $1
           and user_id in (select user_id from memberships where account_id = $1 and team_id = $2 and left_at is null)
         order by user_id for no key update",
        account,
        team,
    )
    .fetch_all(&mut *tx)
    .instrument(span("lock members of team"))
    .await?;
    let rows = sqlx::query!(
        r#"select user_id as "user_id!", stranded as "stranded!"
           from unnest($2::uuid[]) as asked (user_id)
           cross join lateral (select not exists (
               select from memberships join teams on teams.account_id = $1 and teams.id = memberships.team_id
               where memberships.account_id = $1 and memberships.user_id = asked.user_id and left_at is null
                 and archived_at is null) as stranded) as left_without
           where stranded or exists (
               select from user_states known where known.account_id = $1 and known.user_id = asked.user_id and deactivated)
           order by 1"#,
        account,
        &members,
    )
    .fetch_all(tx)
    .instrument(span("find members without a team"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.stranded)).collect())
}
