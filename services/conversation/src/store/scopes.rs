//! What a person's memberships let him see.

use diwan_access::User;
use sqlx::PgExecutor;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    Error,
    domain::scope::{Level, Scope},
};

/// The scope of a caller.
pub async fn of(executor: impl PgExecutor<'_>, caller: &User) -> Result<Scope, Error> {
    if caller.is_administrator() {
        return Ok(Scope::of_administrator(caller.user_id));
    }
    of_member(executor, caller.account_id, caller.user_id).await
}

/// An archived team shows what is still there, and nothing of the teams that it listed: nobody sees those through a team out of use.
async fn of_member(executor: impl PgExecutor<'_>, account: Uuid, user: Uuid) -> Result<Scope, Error> {
    let rows = sqlx::query!(
        r#"select t.id, t.visibility, case when t.receiving_id is null then t.wide_team_ids else '{}' end as "shown!", s.lead
           from slots s join teams t on t.account_id = s.account_id and t.id = s.team_id
           where s.account_id = $1 and s.user_id = $2 and s.member"#,
        account,
        user
    )
    .fetch_all(executor)
    .instrument(diwan_store::span("read scope"))
    .await?;
    let led: Vec<Uuid> = rows.iter().filter(|row| row.lead).map(|row| row.id).collect();
    let teams = rows.into_iter().map(|row| (row.id, Level::of_number(row.visibility), row.shown));
    Ok(Scope::of_member(user, teams).leading(led))
}
