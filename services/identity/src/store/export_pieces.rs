//! What exports are made of: files, and their pieces in blobs.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;

use super::exports::{Part, Task};
use crate::error::Error;

/// Where the pieces of a page lie.
#[derive(Clone, Debug)]
pub struct Piece {
    /// In which file of the archive.
    pub path: String,
    /// Where it begins in the page's blob.
    pub start: i64,
    /// How long it is.
    pub length: i64,
    /// How many rows are in it.
    pub rows: i64,
}

/// Adds a page to an export that is locked and has `count` pieces: its pieces, and where the part goes on.
pub async fn append(
    tx: &mut PgConnection,
    task: Task,
    part: &Part,
    page: &Page,
    (count, lease): (i64, Timestamp),
) -> Result<(), Error> {
    let starts: Vec<i64> = page.pieces.iter().map(|piece| piece.start).collect();
    let lengths: Vec<i64> = page.pieces.iter().map(|piece| piece.length).collect();
    sqlx::query!(
        "insert into export_pieces (account_id, export_id, number, blob, start, length)
         select $1, $2, $3 + place, $4, start, length
         from unnest($5::bigint[], $6::bigint[]) with ordinality as pieces (start, length, place)",
        task.account,
        task.export,
        count,
        page.blob,
        &starts,
        &lengths,
    )
    .execute(&mut *tx)
    .instrument(span("append export pieces"))
    .await?;
    append_files(tx, task, &page.pieces, count).await?;
    sqlx::query!(
        "update export_parts set cursor = $4, rows = rows + $5, bytes = bytes + $6
         where account_id = $1 and export_id = $2 and position = $3",
        task.account,
        task.export,
        part.position,
        page.next,
        page.pieces.iter().map(|piece| piece.rows).sum::<i64>(),
        lengths.iter().sum::<i64>(),
    )
    .execute(&mut *tx)
    .instrument(span("move export part"))
    .await?;
    sqlx::query!(
        "update exports set pieces = pieces + $3, next_attempt_at = $4 where account_id = $1 and id = $2",
        task.account,
        task.export,
        i64::try_from(starts.len()).unwrap_or_default(),
        lease.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("move export"))
    .await?;
    Ok(())
}

/// What a service gave at once.
#[derive(Clone, Debug)]
pub struct Page {
    /// The blob with the bytes of all its pieces.
    pub blob: String,
    /// Where each of them lies.
    pub pieces: Vec<Piece>,
    /// Where the part goes on; `None`: it is complete.
    pub next: Option<String>,
}

/// The pieces of one file follow one another: they lengthen the last file, or begin the next.
async fn append_files(tx: &mut PgConnection, task: Task, pieces: &[Piece], count: i64) -> Result<(), Error> {
    let last = sqlx::query!(
        "select number, path from export_files where account_id = $1 and export_id = $2 order by number desc limit 1",
        task.account,
        task.export,
    );
    let last = last.fetch_optional(&mut *tx).instrument(span("find last export file")).await?;
    let mut file = last.map(|row| (row.number, row.path));
    for (number, piece) in (count + 1..).zip(pieces) {
        let (first, path) = file.take().filter(|(_, path)| *path == piece.path).unwrap_or((number, piece.path.clone()));
        sqlx::query!(
            "insert into export_files (account_id, export_id, number, path, rows, bytes) values ($1, $2, $3, $4, $5, $6)
             on conflict (account_id, export_id, number)
             do update set rows = export_files.rows + excluded.rows, bytes = export_files.bytes + excluded.bytes",
            task.account,
            task.export,
            first,
            path,
            piece.rows,
            piece.length,
        )
        .execute(&mut *tx)
        .instrument(span("append export file"))
        .await?;
        file = Some((first, path));
    }
    Ok(())
}

/// A file of the archive.
#[derive(Clone, Debug)]
pub struct File {
    /// The number of its first piece.
    pub number: i64,
    /// Where it lies.
    pub path: String,
    /// How long it is.
    pub bytes: i64,
}

/// The files after one of them, in their order.
pub async fn files(tx: &mut PgConnection, task: Task, after: i64, limit: i64) -> Result<Vec<File>, Error> {
    let files = sqlx::query_as!(
        File,
        "select number, path, bytes from export_files
         where account_id = $1 and export_id = $2 and number > $3 order by number limit $4",
        task.account,
        task.export,
        after,
        limit,
    );
    Ok(files.fetch_all(tx).instrument(span("list export files")).await?)
}

/// Where bytes of a file lie.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Which piece it is.
    pub number: i64,
    /// The blob.
    pub blob: String,
    /// Where it begins there.
    pub start: i64,
    /// How long it is.
    pub length: i64,
}

/// The pieces from one of them on, in their order.
pub async fn pieces(tx: &mut PgConnection, task: Task, from: i64, limit: i64) -> Result<Vec<Stored>, Error> {
    let pieces = sqlx::query_as!(
        Stored,
        "select number, blob, start, length from export_pieces
         where account_id = $1 and export_id = $2 and number >= $3 order by number limit $4",
        task.account,
        task.export,
        from,
        limit,
    );
    Ok(pieces.fetch_all(tx).instrument(span("list export pieces")).await?)
}

/// Deletes up to `limit` rows of an export that is gone, in the end its own. Returns whether that is done.
pub async fn delete_some(tx: &mut PgConnection, task: Task, limit: i64) -> Result<bool, Error> {
    let pieces = sqlx::query!(
        "delete from export_pieces where account_id = $1 and export_id = $2 and number in
             (select number from export_pieces where account_id = $1 and export_id = $2 limit $3)",
        task.account,
        task.export,
        limit,
    );
    if pieces.execute(&mut *tx).instrument(span("delete export pieces")).await?.rows_affected() > 0 {
        return Ok(false);
    }
    let files = sqlx::query!(
        "delete from export_files where account_id = $1 and export_id = $2 and number in
             (select number from export_files where account_id = $1 and export_id = $2 limit $3)",
        task.account,
        task.export,
        limit,
    );
    if files.execute(&mut *tx).instrument(span("delete export files")).await?.rows_affected() > 0 {
        return Ok(false);
    }
    sqlx::query!("delete from export_parts where account_id = $1 and export_id = $2", task.account, task.export)
        .execute(&mut *tx)
        .instrument(span("delete export parts"))
        .await?;
    sqlx::query!("delete from exports where account_id = $1 and id = $2", task.account, task.export)
        .execute(tx)
        .instrument(span("delete export"))
        .await?;
    Ok(true)
}
