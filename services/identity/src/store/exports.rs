//! Exports of accounts: how far they are, and what they are made of.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Error;

/// An export that is being gathered, or ready.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its id.
    pub id: Uuid,
    /// When it was begun.
    pub started_at: Timestamp,
    /// What the services give.
    pub parts: Vec<Part>,
    /// What there is once it is ready.
    pub ready: Option<Ready>,
}

/// What one service gives.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which one it is of the export's parts.
    pub position: i32,
    /// The service.
    pub service: String,
    /// Where to go on; empty at the beginning, `None` at the end.
    pub cursor: Option<String>,
    /// Rows so far.
    pub rows: i64,
    /// Bytes so far.
    pub bytes: i64,
}

/// An archive that can be downloaded.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its first file.
    pub manifest: String,
    /// How long it is.
    pub size: i64,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Begins one. The account is locked, and has none.
pub async fn insert(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
    services: &[&str],
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into exports (account_id, id, state, started_at, next_attempt_at) values ($1, $2, 'GATHERING', $3, $3)",
        account,
        id,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .instrument(span("insert export"))
    .await?;
    let services: Vec<String> = services.iter().map(|service| (*service).to_owned()).collect();
    sqlx::query!(
        "insert into export_parts (account_id, export_id, position, service, cursor)
         select $1, $2, place::integer, service, ''
         from unnest($3::text[]) with ordinality as services (service, place)",
        account,
        id,
        &services,
    )
    .execute(tx)
    .instrument(span("insert export parts"))
    .await?;
    Ok(())
}

/// The account's export.
pub async fn find(tx: &mut PgConnection, account: Uuid) -> Result<Option<Export>, Error> {
    let row = sqlx::query!(
        r#"select id, started_at as "started_at: jiff_sqlx::Timestamp", manifest, size,
                  ready_at as "ready_at: jiff_sqlx::Timestamp", expires_at as "expires_at: jiff_sqlx::Timestamp"
           from exports where account_id = $1 and state <> 'GONE'"#,
        account,
    )
    .fetch_optional(&mut *tx)
    .instrument(span("find export"))
    .await?;
    let Some(row) = row else { return Ok(None) };
    let ready = match (row.manifest, row.size, row.ready_at, row.expires_at) {
        (Some(manifest), Some(size), Some(at), Some(expires_at)) => {
            Some(Ready { manifest, size, at: at.to_jiff(), expires_at: expires_at.to_jiff() })
        }
        _ => None,
    };
    let parts = parts(tx, account, row.id).await?;
    Ok(Some(Export { id: row.id, started_at: row.started_at.to_jiff(), parts, ready }))
}

async fn parts(tx: &mut PgConnection, account: Uuid, export: Uuid) -> Result<Vec<Part>, Error> {
    let parts = sqlx::query_as!(
        Part,
        "select position, service, cursor, rows, bytes from export_parts
         where account_id = $1 and export_id = $2 order by position",
        account,
        export,
    );
    Ok(parts.fetch_all(tx).instrument(span("list export parts")).await?)
}

/// Lets the account's export go: it is found no more, and deleted by a worker, after whoever gathers it, or his lease, has ended.
pub async fn forget(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update exports set state = 'GONE', next_attempt_at = greatest(next_attempt_at, $2)
         where account_id = $1 and state <> 'GONE'",
        account,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("forget export"))
    .await?;
    Ok(())
}

/// What a worker has to do.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Of this account.
    pub account: Uuid,
    /// The export.
    pub export: Uuid,
    /// Whether it is to be deleted, and not gathered.
    pub gone: bool,
}

/// Takes an export that is to be gathered or deleted and keeps it until `lease`: no two workers have one at a time. One that has expired
/// is gone by this.
pub async fn claim(tx: &mut PgConnection, now: Timestamp, lease: Timestamp) -> Result<Option<Task>, Error> {
    let claimed = sqlx::query_as!(
        Task,
        r#"update exports e set next_attempt_at = $2, state = case e.state when 'READY' then 'GONE' else e.state end
           from (select account_id, id from exports
                 where (state <> 'READY' and next_attempt_at <= $1) or (state = 'READY' and expires_at <= $1)
                 order by next_attempt_at limit 1 for update skip locked) due
           where e.account_id = due.account_id and e.id = due.id
           returning e.account_id as account, e.id as export, e.state = 'GONE' as "gone!""#,
        now.to_sqlx() as _,
        lease.to_sqlx() as _,
    );
    Ok(claimed.fetch_optional(tx).instrument(span("claim export")).await?)
}

/// Puts the next try off, or lets others go first.
pub async fn postpone(tx: &mut PgConnection, task: Task, until: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update exports set next_attempt_at = $3 where account_id = $1 and id = $2",
        task.account,
        task.export,
        until.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("postpone export"))
    .await?;
    Ok(())
}

/// When the next one is due that is to be gathered or deleted.
pub async fn next_due(tx: &mut PgConnection) -> Result<Option<Timestamp>, Error> {
    let due = sqlx::query_scalar!(
        r#"select min(next_attempt_at) as "due: jiff_sqlx::Timestamp" from exports where state <> 'READY'"#
    );
    Ok(due.fetch_one(tx).instrument(span("next due export")).await?.map(jiff_sqlx::Timestamp::to_jiff))
}

/// The part that is being gathered; `None`: all are there.
pub async fn open_part(tx: &mut PgConnection, task: Task) -> Result<Option<Part>, Error> {
    Ok(parts(tx, task.account, task.export).await?.into_iter().find(|part| part.cursor.is_some()))
}

/// Locks an export that is being gathered, until the transaction ends. `None`: it is not any more.
pub async fn lock_gathering(tx: &mut PgConnection, task: Task) -> Result<Option<i64>, Error> {
    let pieces = sqlx::query_scalar!(
        "select pieces from exports where account_id = $1 and id = $2 and state = 'GATHERING' for update",
        task.account,
        task.export,
    );
    Ok(pieces.fetch_optional(tx).instrument(span("lock export")).await?)
}

/// What is in an export, of one kind.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The service.
    pub service: String,
    /// A file with rows, or a folder of files.
    pub name: String,
    /// How many files.
    pub files: i64,
    /// How many rows.
    pub rows: i64,
    /// How many bytes.
    pub bytes: i64,
    /// How many bytes of the archive.
    pub archived: i64,
}

/// What is in an export, in the order of the archive.
pub async fn kinds(tx: &mut PgConnection, task: Task) -> Result<Vec<Kind>, Error> {
    let kinds = sqlx::query_as!(
        Kind,
        r#"select split_part(path, '/', 1) as "service!", split_part(path, '/', 2) as "name!", count(*) as "files!",
                  sum(rows)::bigint as "rows!", sum(bytes)::bigint as "bytes!",
                  sum(512 + (bytes + 511) / 512 * 512)::bigint as "archived!"
           from export_files where account_id = $1 and export_id = $2 group by 1, 2 order by min(number)"#,
        task.account,
        task.export,
    );
    Ok(kinds.fetch_all(tx).instrument(span("sum export up")).await?)
}

/// Makes a locked export ready, with which its worker is done.
pub async fn make_ready(tx: &mut PgConnection, task: Task, ready: &Ready) -> Result<(), Error> {
    sqlx::query!(
        "update exports set state = 'READY', manifest = $3, size = $4, ready_at = $5, expires_at = $6, next_attempt_at = $5
         where account_id = $1 and id = $2",
        task.account,
        task.export,
        ready.manifest,
        ready.size,
        ready.at.to_sqlx() as _,
        ready.expires_at.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("make export ready"))
    .await?;
    Ok(())
}
