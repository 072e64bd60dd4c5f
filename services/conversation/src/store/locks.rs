//! All locks that the events of one account need, taken before the first of them has its effect: one by one they would be taken
//! against the lock order, and deadlock with whoever keeps it.

use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// What changes in one account.
#[derive(Clone, Debug, Default)]
pub struct Concerned {
    /// Teams whose settings change: their row, and every slot, whose counts may start over.
    pub teams: Vec<Uuid>,
    /// Users who change: their row, their slots, whether they are there, and what they hold.
    pub users: Vec<Uuid>,
    /// Memberships that change, as team and user: the team's row, the slot, and what the user holds.
    pub members: Vec<(Uuid, Uuid)>,
}

/// Locks it, in the lock order. Rows that do not exist yet are not locked: their events insert them.
pub async fn take(tx: &mut Tx, account: Uuid, concerned: &Concerned) -> Result<(), Error> {
    let Concerned { teams, users, members } = concerned;
    let (of_teams, of_users): (Vec<Uuid>, Vec<Uuid>) = members.iter().copied().unzip();
    let routed: Vec<Uuid> = teams.iter().chain(&of_teams).copied().collect();
    let holders: Vec<Uuid> = users.iter().chain(&of_users).copied().collect();
    sqlx::query!(
        "select id from users where account_id = $1 and id = any($2) order by id for no key update",
        account,
        users
    )
    .fetch_all(&mut *tx)
    .instrument(diwan_store::span("lock users"))
    .await?;
    sqlx::query!(
        "select id from teams where account_id = $1 and id = any($2) order by id for no key update",
        account,
        &routed
    )
    .fetch_all(&mut *tx)
    .instrument(diwan_store::span("lock teams"))
    .await?;
    sqlx::query!(
        "select user_id from slots
         where account_id = $1
           and (user_id = any($2) or team_id = any($3)
                or (team_id, user_id) in (select * from unnest($4::uuid[], $5::uuid[])))
         order by user_id, team_id for no key update",
        account,
        users,
        teams,
        &of_teams,
        &of_users
    )
    .fetch_all(&mut *tx)
    .instrument(diwan_store::span("lock slots"))
    .await?;
    sqlx::query!(
        "select user_id from presence where account_id = $1 and user_id = any($2) order by user_id for update",
        account,
        users
    )
    .fetch_all(&mut *tx)
    .instrument(diwan_store::span("lock presences"))
    .await?;
    sqlx::query!(
        "select id from conversations where account_id = $1 and holder_id = any($2) order by id for no key update",
        account,
        &holders
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("lock held conversations"))
    .await?;
    Ok(())
}
