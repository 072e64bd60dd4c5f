//! All locks that the events of one account need, taken before the first of them has its effect: one by one they would be taken
//! against the lock order, and deadlock with whoever keeps it.

use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, bots, rules};
use crate::Error;

/// What changes in one account.
#[derive(Clone, Debug, Default)]
pub struct Concerned {
    /// Teams whose settings change: their row, the menus that name them, and every slot, whose counts may start over.
    pub teams: Vec<Uuid>,
    /// Users of whom identity tells: the row of each, which there is from here on. Whoever notes himself meanwhile ([`super::users::require_active`])
    /// is waited for in the lock order, and not behind the locks of his slots.
    pub told: Vec<Uuid>,
    /// Users who change: their row, their slots, whether they are there, and what they hold.
    pub users: Vec<Uuid>,
    /// Memberships that change, as team and user: the row of each, the slot, and what the user holds.
    pub members: Vec<(Uuid, Uuid)>,
}

/// Locks it, in the lock order. Rows that do not exist yet are not locked: their events insert them.
pub async fn take(tx: &mut Tx, account: Uuid, concerned: &Concerned) -> Result<(), Error> {
    let Concerned { teams, told, users, members } = concerned;
    let (of_teams, of_users): (Vec<Uuid>, Vec<Uuid>) = members.iter().copied().unzip();
    let routed: Vec<Uuid> = teams.iter().chain(&of_teams).copied().collect();
    let holders: Vec<Uuid> = users.iter().chain(&of_users).copied().collect();
    // What they are is told by the event, in this transaction.
    sqlx::query!(
        "insert into users (account_id, id, role, active, version)
         select $1, id, 3, false, 0 from unnest($2::uuid[]) id order by id on conflict do nothing",
        account,
        told
    )
    .execute(&mut *tx)
    .instrument(diwan_store::span("make rows of users"))
    .await?;
    sqlx::query!(
        "select id from users where account_id = $1 and id = any($2) order by id for no key update",
        account,
        &holders
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
    // Nobody names one of these teams from here on: who does shares its row first.
    let menus: Vec<Uuid> = bots::naming(tx, account, teams).await?.into_iter().map(|bot| bot.id).collect();
    if !menus.is_empty() {
        rules::lock_list(tx, account).await?;
        bots::lock_all(tx, account, &menus).await?;
    }
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
