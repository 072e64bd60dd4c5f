//! Many conversations that move, and how far they are.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// A reassignment as it is stored.
#[derive(Clone, Debug)]
pub struct Reassignment {
    pub id: Uuid,
    pub actor_id: Uuid,
    pub holder_id: Option<Uuid>,
    pub team_id: Option<Uuid>,
    pub queued: bool,
    pub to_team_id: Option<Uuid>,
    pub to_user_id: Option<Uuid>,
    pub done_up_to: Uuid,
    pub last_id: Uuid,
    pub moved: i32,
    pub over_limit: i32,
    pub skipped: i32,
    pub created_at: SqlTimestamp,
    pub finished_at: Option<SqlTimestamp>,
}

impl Reassignment {
    /// As the protocol shows it.
    pub fn to_proto(&self) -> proto::Reassignment {
        let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let done = self.finished_at.is_some();
        let state = if done { proto::ReassignmentState::Done } else { proto::ReassignmentState::Running };
        proto::Reassignment {
            id: self.id.to_string(),
            state: state.into(),
            holder_id: id(self.holder_id),
            team_id: id(self.team_id),
            queued: self.queued,
            to_team_id: id(self.to_team_id),
            to_user_id: id(self.to_user_id),
            moved: self.moved,
            over_limit: self.over_limit,
            skipped: self.skipped,
            actor_id: self.actor_id.to_string(),
            created_at: Some(to_proto(self.created_at.to_jiff())),
            finished_at: self.finished_at.map(|at| to_proto(at.to_jiff())),
        }
    }
}

/// Reads the reassignment `$2` of the account `$1`, with this lock.
macro_rules! select {
    ($executor:expr, $account:ident, $id:ident, $lock:tt) => {
        sqlx::query_as!(
            Reassignment,
            r#"select id, actor_id, holder_id, team_id, queued, to_team_id, to_user_id, done_up_to, last_id, moved, over_limit,
                      skipped, created_at as "created_at: SqlTimestamp", finished_at as "finished_at: SqlTimestamp"
               from reassignments where account_id = $1 and id = $2"# + $lock,
            $account,
            $id
        )
        .fetch_optional($executor)
        .instrument(diwan_store::span("read reassignment"))
        .await?
    };
}

/// Begins one.
pub async fn insert(tx: &mut Tx, account: Uuid, new: &Reassignment) -> Result<(), Error> {
    sqlx::query!(
        "insert into reassignments (account_id, id, actor_id, holder_id, team_id, queued, to_team_id, to_user_id, done_up_to,
                                    last_id, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        account,
        new.id,
        new.actor_id,
        new.holder_id,
        new.team_id,
        new.queued,
        new.to_team_id,
        new.to_user_id,
        new.done_up_to,
        new.last_id,
        new.created_at as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert reassignment"))
    .await?;
    Ok(())
}

/// One of an account.
pub async fn find(executor: impl PgExecutor<'_>, account: Uuid, id: Uuid) -> Result<Option<Reassignment>, Error> {
    Ok(select!(executor, account, id, ""))
}

/// Those of an account, or of its conversations of these teams, the latest first, after `after`.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    teams: Option<&[Uuid]>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Reassignment>, Error> {
    Ok(sqlx::query_as!(
        Reassignment,
        r#"select id, actor_id, holder_id, team_id, queued, to_team_id, to_user_id, done_up_to, last_id, moved, over_limit,
                  skipped, created_at as "created_at: SqlTimestamp", finished_at as "finished_at: SqlTimestamp"
           from reassignments
           where account_id = $1 and ($2::uuid[] is null or team_id = any($2)) and ($3::uuid is null or id < $3)
           order by id desc limit $4"#,
        account,
        teams,
        after,
        limit
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list reassignments"))
    .await?)
}

/// One that goes on, locked. `None`: it is through, or somebody else is at it.
pub async fn lock(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Reassignment>, Error> {
    Ok(select!(tx, account, id, " and finished_at is null for no key update skip locked"))
}

/// Notes how far it is.
pub async fn save(tx: &mut Tx, account: Uuid, at: &Reassignment, finished: Option<Timestamp>) -> Result<(), Error> {
    sqlx::query!(
        "update reassignments set done_up_to = $3, moved = $4, over_limit = $5, skipped = $6, finished_at = $7
         where account_id = $1 and id = $2",
        account,
        at.id,
        at.done_up_to,
        at.moved,
        at.over_limit,
        at.skipped,
        finished.map(Timestamp::to_sqlx) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("save reassignment"))
    .await?;
    Ok(())
}

/// Those that go on: of each account one, which one is chance, as is whose turn it is where there are many. So none waits for another one
/// to be through.
pub async fn running(pool: &PgPool, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, id
         from (select distinct on (account_id) account_id, id from reassignments where finished_at is null
               order by account_id, random()) going
         order by random() limit $1",
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find running reassignments"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.id)).collect())
}

/// How many of an account go on. Whoever asks next waits for this transaction: the account's routing list is locked.
pub async fn count_running(tx: &mut Tx, account: Uuid) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from reassignments where account_id = $1 and finished_at is null"#,
        account
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("count running reassignments"))
    .await?;
    Ok(count)
}

/// The next conversations that it is about, by id. They are not locked.
pub async fn next(tx: &mut Tx, account: Uuid, at: &Reassignment, most: i64) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        "select id from conversations
         where account_id = $1 and id > $2 and id <= $3
           and ($4::uuid is null or holder_id = $4) and ($5::uuid is null or team_id = $5)
           and (state in ('OPEN', 'SNOOZED') or ($6 and state = 'QUEUED'))
         order by id limit $7",
        account,
        at.done_up_to,
        at.last_id,
        at.holder_id,
        at.team_id,
        at.queued,
        most
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("find conversations to reassign"))
    .await?;
    Ok(ids)
}
