//! Which teams are archived, and which ones have taken their place.
//!
//! Invariant: no mailbox names a team that is known here to be archived. Whoever gives a mailbox a team holds the row of that team
//! ([`resolve`]) until he has committed, and the event that archives it changes that row before it looks for mailboxes.

use diwan_store::{Error, span};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use super::mailboxes::Mailbox;

/// Takes in that a team is archived in favour of another one, or active. Whether that is news: no newer version is known.
pub(crate) async fn set(
    tx: &mut PgConnection,
    (account, id): (Uuid, Uuid),
    receiving: Option<Uuid>,
    version: i64,
) -> Result<bool, Error> {
    let taken = sqlx::query!(
        "insert into teams as known (account_id, id, receiving_id, version) values ($1, $2, $3, $4)
         on conflict (account_id, id) do update set receiving_id = excluded.receiving_id, version = excluded.version
         where known.version < excluded.version",
        account,
        id,
        receiving,
        version,
    );
    Ok(taken.execute(tx).instrument(span("set team")).await?.rows_affected() == 1)
}

/// The team that has the place of `team`: itself, unless it is archived. It stays so until the transaction ends.
pub(crate) async fn resolve(tx: &mut PgConnection, account: Uuid, team: Uuid) -> Result<Uuid, Error> {
    let mut seen = vec![team];
    loop {
        let at = seen[seen.len() - 1];
        // So that there is a row to hold, also of a team that nothing has been heard of.
        let known = sqlx::query!(
            "insert into teams (account_id, id, version) values ($1, $2, 0) on conflict do nothing",
            account,
            at,
        );
        known.execute(&mut *tx).instrument(span("know team")).await?;
        let held = sqlx::query_scalar!(
            "select receiving_id from teams where account_id = $1 and id = $2 for share",
            account,
            at,
        );
        match held.fetch_one(&mut *tx).instrument(span("hold team")).await? {
            // Teams that receive each other in a circle there are only between two events.
            Some(heir) if !seen.contains(&heir) => seen.push(heir),
            _ => return Ok(at),
        }
    }
}

/// Has the mailboxes of one team feed another one. Returns them as they were.
pub(crate) async fn move_mailboxes(
    tx: &mut PgConnection,
    account: Uuid,
    (from, to): (Uuid, Uuid),
) -> Result<Vec<Mailbox>, Error> {
    let found = sqlx::query_as!(
        Mailbox,
        "select * from mailboxes where account_id = $1 and team_id = $2 order by id for no key update",
        account,
        from,
    );
    let found = found.fetch_all(&mut *tx).instrument(span("lock mailboxes of team")).await?;
    let moved =
        sqlx::query!("update mailboxes set team_id = $3 where account_id = $1 and team_id = $2", account, from, to);
    moved.execute(tx).instrument(span("move mailboxes of team")).await?;
    Ok(found)
}
