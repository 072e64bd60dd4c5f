//! Where our own feed ends now, and events that concern streams only.

use diwan_feed::{Change, Position};
use diwan_proto::conversation::v1::{BoardChanged, InboxScopeChanged};
use diwan_runtime::ids;
use jiff::Timestamp;
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// The last event that can be read; [`Position::START`] before the first.
pub async fn head(pool: &PgPool) -> Result<Position, Error> {
    diwan_feed::ensure_generation(pool).await?;
    let row = sqlx::query!(
        r#"select g.generation, coalesce(e.xid, g.purged_xid)::text as "transaction!", coalesce(e.seq, g.purged_seq) as "sequence!"
           from feed_generation g
           left join lateral (select xid, seq from feed_events where xid < pg_snapshot_xmin(pg_current_snapshot())
                              order by xid desc, seq desc limit 1) e on true"#
    )
    .fetch_one(pool)
    .instrument(diwan_store::span("find head of feed"))
    .await?;
    let transaction: i64 = row.transaction.parse().map_err(|_| Error::Unknown("transaction"))?;
    if (transaction, row.sequence) == (0, 0) {
        return Ok(Position::START);
    }
    Ok(Position { generation: row.generation, transaction, sequence: row.sequence })
}

/// Whatever commits from now on has this transaction number or a higher one, unless it is under way already; what is committed
/// has a lower one.
pub async fn next_transaction(pool: &PgPool) -> Result<i64, Error> {
    let number = sqlx::query_scalar!(r#"select pg_snapshot_xmax(pg_current_snapshot())::text as "number!""#)
        .fetch_one(pool)
        .instrument(diwan_store::span("read next transaction"))
        .await?;
    number.parse().map_err(|_| Error::Unknown("transaction"))
}

/// Makes the boards of a team look again.
pub async fn board_changed(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<(), Error> {
    Ok(diwan_feed::append(tx, account, now, &[Change::new(team, 0, &BoardChanged {})]).await?)
}

/// Makes streams look again at what their readers may see: of one user, or of the whole account.
pub async fn scope_changed(tx: &mut Tx, account: Uuid, user: Option<Uuid>, now: Timestamp) -> Result<(), Error> {
    let payload = InboxScopeChanged { user_id: user.map(|id| id.to_string()).unwrap_or_default() };
    // Each stands for itself: nobody keeps a state of it, so the version says nothing.
    diwan_feed::append(tx, account, now, &[Change::new(user.unwrap_or_else(ids::new_id), 0, &payload)]).await?;
    Ok(())
}
