//! Teams. Where nothing else is said, what is read and locked here is active.

use diwan_hours::Schedule;
use diwan_store::{Error, span};
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::domain::{AutomaticReply, Settings, Team, Visibility, name_key};

/// The unique index of active names.
pub(crate) const NAME_INDEX: &str = "teams_active_name";

#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
struct Row {
    id: Uuid,
    name: String,
    assignment_limit: i32,
    topic_mandatory: bool,
    visibility_level: i16,
    fallback: bool,
    working_hours: Option<Json<Schedule>>,
    time_zone: String,
    version: i64,
    created_at: SqlTimestamp,
    wide_teams: Vec<Uuid>,
    sticky_owner: bool,
    wait_alert_seconds: i32,
    no_answer_after_minutes: i32,
    reassign_when_offline: bool,
    automatic_reply: Json<AutomaticReply>,
    archived_at: Option<SqlTimestamp>,
    receiving_id: Option<Uuid>,
}

impl Row {
    fn into_team(self, account: Uuid) -> Team {
        let settings = Settings {
            name: self.name,
            assignment_limit: self.assignment_limit,
            topic_mandatory: self.topic_mandatory,
            // The table's check admits no other level; a newer version's would show its members the least.
            visibility: Visibility::of_level(self.visibility_level).unwrap_or(Visibility::Restricted),
            wide_teams: self.wide_teams,
            sticky_owner: self.sticky_owner,
            wait_alert_seconds: self.wait_alert_seconds,
            no_answer_after_minutes: self.no_answer_after_minutes,
            reassign_when_offline: self.reassign_when_offline,
            automatic_reply: self.automatic_reply.0,
        };
        Team {
            account,
            id: self.id,
            settings,
            fallback: self.fallback,
            hours: self.working_hours.map(|Json(hours)| hours),
            zone: self.time_zone,
            version: self.version,
            created_at: self.created_at.to_jiff(),
            archived: self.archived_at.map(|at| (at.to_jiff(), self.receiving_id)),
        }
    }
}

/// Inserts a team with the teams that it shows. A fallback team is not inserted where there is one: whether it was.
pub(crate) async fn insert(tx: &mut PgConnection, team: &Team) -> Result<bool, Error> {
    let settings = &team.settings;
    let result = sqlx::query!(
        "insert into teams (account_id, id, name, name_key, assignment_limit, topic_mandatory, visibility_level,
                            fallback, version, created_at, sticky_owner, wait_alert_seconds, no_answer_after_minutes,
                            reassign_when_offline, automatic_reply)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         on conflict (account_id) where fallback do nothing",
        team.account,
        team.id,
        settings.name,
        name_key(&settings.name),
        settings.assignment_limit,
        settings.topic_mandatory,
        settings.visibility.level(),
        team.fallback,
        team.version,
        team.created_at.to_sqlx(),
        settings.sticky_owner,
        settings.wait_alert_seconds,
        settings.no_answer_after_minutes,
        settings.reassign_when_offline,
        Json(&settings.automatic_reply) as _,
    )
    .execute(&mut *tx)
    .instrument(span("insert team"))
    .await?;
    let inserted = result.rows_affected() == 1;
    if inserted {
        show(tx, team).await?;
    }
    Ok(inserted)
}

/// Writes the settings and the version of a team that [`lock`] locked.
pub(crate) async fn save(tx: &mut PgConnection, team: &Team) -> Result<(), Error> {
    let settings = &team.settings;
    sqlx::query!(
        "update teams
         set name = $3, name_key = $4, assignment_limit = $5, topic_mandatory = $6, visibility_level = $7, version = $8,
             working_hours = $9, sticky_owner = $10, wait_alert_seconds = $11, fallback = $12, archived_at = $13,
             receiving_id = $14, no_answer_after_minutes = $15, reassign_when_offline = $16, automatic_reply = $17
         where account_id = $1 and id = $2",
        team.account,
        team.id,
        settings.name,
        name_key(&settings.name),
        settings.assignment_limit,
        settings.topic_mandatory,
        settings.visibility.level(),
        team.version,
        team.hours.as_ref().map(Json) as _,
        settings.sticky_owner,
        settings.wait_alert_seconds,
        team.fallback,
        team.archived.map(|(at, _)| at.to_sqlx()) as _,
        team.archived.and_then(|(_, receiving)| receiving),
        settings.no_answer_after_minutes,
        settings.reassign_when_offline,
        Json(&settings.automatic_reply) as _,
    )
    .execute(&mut *tx)
    .instrument(span("save team"))
    .await?;
    sqlx::query!("delete from team_visible_teams where account_id = $1 and team_id = $2", team.account, team.id)
        .execute(&mut *tx)
        .instrument(span("clear visible teams"))
        .await?;
    show(tx, team).await
}

async fn show(tx: &mut PgConnection, team: &Team) -> Result<(), Error> {
    if team.settings.wide_teams.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into team_visible_teams (account_id, team_id, visible_team_id) select $1, $2, unnest($3::uuid[])",
        team.account,
        team.id,
        &team.settings.wide_teams,
    )
    .execute(tx)
    .instrument(span("insert visible teams"))
    .await?;
    Ok(())
}

/// A team, locked for a change until the end of the transaction: changes of one team happen one after the other, so that
/// each raises the version by one.
pub(crate) async fn lock(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<Team>, Error> {
    sqlx::query!("select from teams where account_id = $1 and id = $2 for no key update", account, id)
        .fetch_optional(&mut *tx)
        .instrument(span("lock team"))
        .await?;
    find(tx, account, id).await
}

/// Which of these teams are active. They stay so until the end of the transaction, since whoever archives a team locks it
/// `for update`; changes of their settings need not wait.
pub(crate) async fn hold(tx: &mut PgConnection, account: Uuid, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    let held = sqlx::query_scalar!(
        "select id from teams where account_id = $1 and id = any($2) and archived_at is null order by id for key share",
        account,
        ids,
    )
    .fetch_all(tx)
    .instrument(span("hold teams"))
    .await?;
    Ok(held)
}

/// One team.
pub(crate) async fn find(connection: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<Team>, Error> {
    Ok(find_all(connection, account, &[id]).await?.pop())
}

/// Those of these teams that there are.
pub(crate) async fn find_all(connection: &mut PgConnection, account: Uuid, ids: &[Uuid]) -> Result<Vec<Team>, Error> {
    find_in(connection, account, ids, false).await
}

/// Those of these teams that are archived.
pub(crate) async fn find_archived(
    connection: &mut PgConnection,
    account: Uuid,
    ids: &[Uuid],
) -> Result<Vec<Team>, Error> {
    find_in(connection, account, ids, true).await
}

async fn find_in(
    connection: &mut PgConnection,
    account: Uuid,
    ids: &[Uuid],
    archived: bool,
) -> Result<Vec<Team>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, assignment_limit, topic_mandatory, visibility_level, fallback, version, created_at,
                  sticky_owner, wait_alert_seconds, no_answer_after_minutes, reassign_when_offline,
                  automatic_reply as "automatic_reply: Json<AutomaticReply>", archived_at, receiving_id,
                  working_hours as "working_hours: Json<Schedule>",
                  coalesce((select time_zone from accounts where accounts.account_id = teams.account_id),
                           'UTC') as "time_zone!",
                  array(select visible_team_id from team_visible_teams as visible
                        where visible.account_id = teams.account_id and visible.team_id = teams.id
                        order by visible_team_id) as "wide_teams!"
           from teams where account_id = $1 and id = any($2) and (archived_at is not null) = $3 order by id"#,
        account,
        ids,
        archived,
    )
    .fetch_all(connection)
    .instrument(span("find teams"))
    .await?;
    Ok(rows.into_iter().map(|row| row.into_team(account)).collect())
}

/// The account's fallback team.
pub(crate) async fn find_fallback(connection: &mut PgConnection, account: Uuid) -> Result<Option<Team>, Error> {
    let id = sqlx::query_scalar!("select id from teams where account_id = $1 and fallback", account)
        .fetch_optional(&mut *connection)
        .instrument(span("find fallback team"))
        .await?;
    match id {
        Some(id) => find(connection, account, id).await,
        None => Ok(None),
    }
}

/// The ids of the teams that have working hours, in their order.
pub(crate) async fn with_hours(connection: &mut PgConnection, account: Uuid) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        "select id from teams
         where account_id = $1 and working_hours is not null and archived_at is null order by id",
        account,
    )
    .fetch_all(connection)
    .instrument(span("find teams with hours"))
    .await?;
    Ok(ids)
}

/// Teams by name, after the one of `after`: the active ones, or the archived ones.
pub(crate) async fn list(
    connection: &mut PgConnection,
    account: Uuid,
    archived: bool,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<Team>, Error> {
    let (name, id) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, assignment_limit, topic_mandatory, visibility_level, fallback, version, created_at,
                  sticky_owner, wait_alert_seconds, no_answer_after_minutes, reassign_when_offline,
                  automatic_reply as "automatic_reply: Json<AutomaticReply>", archived_at, receiving_id,
                  working_hours as "working_hours: Json<Schedule>",
                  coalesce((select time_zone from accounts where accounts.account_id = teams.account_id),
                           'UTC') as "time_zone!",
                  array(select visible_team_id from team_visible_teams as visible
                        where visible.account_id = teams.account_id and visible.team_id = teams.id
                        order by visible_team_id) as "wide_teams!"
           from teams
           where account_id = $1 and (archived_at is not null) = $5
             and ($2::text is null or (name_key, id) > ($2, $3::uuid))
           order by name_key, id limit $4"#,
        account,
        name,
        id,
        limit,
        archived,
    )
    .fetch_all(connection)
    .instrument(span("list teams"))
    .await?;
    Ok(rows.into_iter().map(|row| row.into_team(account)).collect())
}

/// The active teams that a user belongs to by name, after the one of `after`.
pub(crate) async fn list_of(
    connection: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<Team>, Error> {
    let (name, id) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"select teams.id, name, assignment_limit, topic_mandatory, visibility_level, fallback, teams.version, created_at,
                  sticky_owner, wait_alert_seconds, no_answer_after_minutes, reassign_when_offline,
                  automatic_reply as "automatic_reply: Json<AutomaticReply>", archived_at, receiving_id,
                  working_hours as "working_hours: Json<Schedule>",
                  coalesce((select time_zone from accounts where accounts.account_id = teams.account_id),
                           'UTC') as "time_zone!",
                  array(select visible_team_id from team_visible_teams as visible
                        where visible.account_id = teams.account_id and visible.team_id = teams.id
                        order by visible_team_id) as "wide_teams!"
           from memberships join teams on teams.account_id = memberships.account_id and teams.id = memberships.team_id
           where memberships.account_id = $1 and user_id = $2 and left_at is null and archived_at is null
             and ($3::text is null or (name_key, teams.id) > ($3, $4::uuid))
           order by name_key, teams.id limit $5"#,
        account,
        user,
        name,
        id,
        limit,
    )
    .fetch_all(connection)
    .instrument(span("list teams of user"))
    .await?;
    Ok(rows.into_iter().map(|row| row.into_team(account)).collect())
}
