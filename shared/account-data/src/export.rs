//! Handing out what an account has, page by page.
//!
//! Every page begins where the one before ended, at a key: rows are in the order of their primary keys, which never change. So
//! what is there all the time is in exactly one page, whatever is inserted and deleted meanwhile.

use diwan_blobs::{BlobError, Blobs};
use diwan_proto::export::v1::Piece;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{Data, Files, Table};

/// When a page is full. The last row may make it larger.
const FULL: usize = 1024 * 1024;
/// How many rows or files one look finds at most.
const ROWS: i64 = 500;

/// What stops an export.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed a statement")]
    Store(#[from] sqlx::Error),
    /// The blob store failed.
    #[error("a blob cannot be read")]
    Blobs(#[from] BlobError),
}

/// Where a page ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// The table, or the folder of files.
    kind: String,
    /// The key of the last row of it that was handed out to its end.
    after: Option<serde_json::Value>,
    /// A file that was handed out in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<Open>,
}

/// A file of which the first bytes are handed out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    key: Uuid,
    blob: String,
    within: Option<Uuid>,
    offset: u64,
}

impl Cursor {
    /// Reads one that [`Cursor::encode`] wrote, of a kind that `data` has.
    pub fn decode(data: &Data, text: &str) -> Option<Self> {
        let cursor: Self = serde_json::from_str(text).ok()?;
        kinds(data).any(|kind| kind.name() == cursor.kind).then_some(cursor)
    }

    /// As text, for who asks for the next page.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is handed out one after the other.
enum Kind {
    Rows(&'static Table),
    Blobs(&'static Files),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Rows(table) => table.name,
            Self::Blobs(files) => files.folder,
        }
    }
}

fn kinds(data: &Data) -> impl Iterator<Item = Kind> {
    let rows = data.tables.iter().filter(|table| !table.shown.is_empty()).map(Kind::Rows);
    rows.chain(data.files.iter().map(Kind::Blobs))
}

/// Hands out.
pub struct Exporter<'a> {
    /// Where the rows are.
    pub pool: &'a PgPool,
    /// Where the blobs are, if the service has any.
    pub blobs: Option<&'a Blobs>,
    /// What there is.
    pub data: &'a Data,
    /// Of which account.
    pub account: Uuid,
}

/// What is gathered of one page.
struct Page {
    pieces: Vec<Piece>,
    bytes: usize,
}

impl Page {
    fn add(&mut self, file: String, content: Vec<u8>, rows: i64) {
        self.bytes += content.len();
        self.pieces.push(Piece { file, content, rows });
    }

    fn room(&self) -> u64 {
        u64::try_from(FULL.saturating_sub(self.bytes)).unwrap_or_default()
    }
}

impl Exporter<'_> {
    /// The next page and where it ends; `None` after the last one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn page(&self, from: Option<Cursor>) -> Result<(Vec<Piece>, Option<Cursor>), Error> {
        let mut page = Page { pieces: Vec::new(), bytes: 0 };
        let begun = from.as_ref().map(|cursor| cursor.kind.clone());
        let rest = kinds(self.data).skip_while(|kind| begun.as_ref().is_some_and(|begun| begun != kind.name()));
        let mut from = from;
        for kind in rest {
            let mut cursor = from.take().unwrap_or_else(|| Cursor { kind: kind.name().into(), ..Cursor::default() });
            loop {
                if page.bytes >= FULL {
                    return Ok((page.pieces, Some(cursor)));
                }
                let next = match kind {
                    Kind::Rows(table) => self.rows(table, &cursor, &mut page).await?,
                    Kind::Blobs(files) => self.files(files, cursor, &mut page).await?,
                };
                match next {
                    Some(next) => cursor = next,
                    None => break,
                }
            }
        }
        Ok((page.pieces, None))
    }

    /// Adds the next rows of a table; `None` when there are no more.
    async fn rows(&self, table: &Table, cursor: &Cursor, page: &mut Page) -> Result<Option<Cursor>, Error> {
        let rows: Vec<(String, Json<serde_json::Value>)> = sqlx::query_as(AssertSqlSafe(rows_of(table)))
            .bind(self.account)
            .bind(cursor.after.clone().map(Json))
            .bind(ROWS)
            .bind(i64::try_from(page.room()).unwrap_or(i64::MAX))
            .fetch_all(self.pool)
            .instrument(diwan_store::span("export rows"))
            .await?;
        let Some((_, Json(last))) = rows.last() else { return Ok(None) };
        let next = Cursor { after: Some(last.clone()), ..cursor.clone() };
        let mut lines = String::new();
        for (row, _) in &rows {
            lines.push_str(row);
            lines.push('\n');
        }
        page.add(format!("{}.jsonl", table.name), lines.into(), i64::try_from(rows.len()).unwrap_or_default());
        Ok(Some(next))
    }

    /// Adds the rest of an open file, or the beginning of the next; `None` when there are no more.
    async fn files(&self, files: &Files, cursor: Cursor, page: &mut Page) -> Result<Option<Cursor>, Error> {
        let open = match cursor.open.clone() {
            Some(open) => open,
            None => match self.next_file(files, cursor.after.as_ref()).await? {
                Some(open) => open,
                None => return Ok(None),
            },
        };
        let done = Cursor { after: Some(open.key.to_string().into()), open: None, ..cursor.clone() };
        let Some(blobs) = self.blobs else { return Ok(Some(done)) };
        let of_account = blobs.of(files.space).of(&self.account.to_string());
        let part = open.within.map_or(of_account.clone(), |within| of_account.of(&within.to_string()));
        let wanted = page.room().max(1);
        let content = match part.slice(&open.blob, open.offset..open.offset + wanted).await {
            // Replaced or deleted since its row was read; one that is lost must not keep the rest from its owner.
            Err(error) if error.is_missing() => {
                tracing::warn!(account = %self.account, kind = files.folder, key = %open.key, "a blob is missing in an export");
                return Ok(Some(done));
            }
            content => content?,
        };
        let read = u64::try_from(content.len()).unwrap_or_default();
        if read > 0 || open.offset == 0 {
            page.add(format!("{}/{}.{}", files.folder, open.key, files.extension), content.into(), 0);
        }
        if read < wanted {
            return Ok(Some(done));
        }
        Ok(Some(Cursor { open: Some(Open { offset: open.offset + read, ..open }), ..cursor }))
    }

    async fn next_file(&self, files: &Files, after: Option<&serde_json::Value>) -> Result<Option<Open>, Error> {
        let after = after.and_then(serde_json::Value::as_str).and_then(|key| Uuid::try_parse(key).ok());
        let found: Option<(Uuid, String, Option<Uuid>)> = sqlx::query_as(AssertSqlSafe(file_of(files)))
            .bind(self.account)
            .bind(after)
            .fetch_optional(self.pool)
            .instrument(diwan_store::span("export file"))
            .await?;
        Ok(found.map(|(key, blob, within)| Open { key, blob, within, offset: 0 }))
    }
}

/// The next rows as JSON objects, each with its key: at most $3 of them, and those that begin within the next $4 bytes. The key before
/// comes as a JSON object, which the table's own row type reads: so each column is compared as what it is.
fn rows_of(table: &Table) -> String {
    let Table { name, account, .. } = table;
    let shown = table.shown.join(", ");
    let columns = [&[&*format!("{} as key", json_fields(table.key))], table.key].concat().join(", ");
    let (from, order) = if table.key.is_empty() {
        ("and $2::jsonb is null".to_owned(), String::new())
    } else {
        let key = table.key.join(", ");
        let after = format!("({key}) > (select {key} from jsonb_populate_record(null::{name}, $2::jsonb))");
        (format!("and ($2::jsonb is null or {after})"), format!("order by {key}"))
    };
    format!(
        "select row, key from (
             select row, key, sum(octet_length(row)) over ({order} rows unbounded preceding) - octet_length(row) as bytes_before
             from (
                 select (select row_to_json(shown)::text from (select {shown}) shown) as row, {columns}
                 from {name} where {account} = $1 {from} {order} limit $3
             ) found
         ) following where bytes_before < $4 order by bytes_before",
    )
}

fn json_fields(key: &[&str]) -> String {
    let fields: Vec<_> = key.iter().map(|column| format!("'{column}', {column}")).collect();
    format!("jsonb_build_object({})", fields.join(", "))
}

fn file_of(files: &Files) -> String {
    let Files { table, key, blob, .. } = files;
    let within = files.within.unwrap_or("null::uuid");
    format!(
        "select {key}, {blob}, {within} from {table}
         where account_id = $1 and {blob} is not null and ($2::uuid is null or {key} > $2) order by {key} limit 1"
    )
}
