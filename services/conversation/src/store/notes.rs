//! Internal notes. Nothing that sends messages reads them.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{LARGEST, Tx, fitting};
use crate::Error;

/// A note as it is stored.
#[derive(Clone, Debug)]
pub struct Note {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub author_id: Option<Uuid>,
    pub bot_id: Option<Uuid>,
    pub text: String,
    pub created_at: SqlTimestamp,
}

impl Note {
    /// As the protocol shows it.
    pub fn to_proto(&self) -> proto::Note {
        let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        proto::Note {
            id: self.id.to_string(),
            conversation_id: self.conversation_id.to_string(),
            author_id: id(self.author_id),
            bot_id: id(self.bot_id),
            text: self.text.clone(),
            created_at: Some(to_proto(self.created_at.to_jiff())),
        }
    }
}

/// Stores a note.
pub async fn insert(tx: &mut Tx, account: Uuid, note: &Note) -> Result<(), Error> {
    sqlx::query!(
        "insert into notes (account_id, id, conversation_id, author_id, bot_id, text, created_at) values ($1, $2, $3, $4, $5, $6, $7)",
        account,
        note.id,
        note.conversation_id,
        note.author_id,
        note.bot_id,
        note.text,
        note.created_at as _
    )
    .execute(tx)
    .instrument(diwan_store::span("insert note"))
    .await?;
    Ok(())
}

/// Those of a conversation after one, oldest first, and how many of them fit into an answer.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    conversation: Uuid,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<(Vec<Note>, i64), Error> {
    let (time, id) = after.unzip();
    let rows = sqlx::query!(
        r#"select id, conversation_id, author_id, bot_id, text, created_at as "created_at: SqlTimestamp", bytes <= $6 as "fits!"
           from (select *, sum(size) over (order by created_at, id) as bytes, row_number() over (order by created_at, id) as place
                 from (select *, octet_length(text) as size from notes
                       where account_id = $1 and conversation_id = $2
                         and ($3::timestamptz is null or (created_at, id) > ($3, $4::uuid))
                       order by created_at, id limit $5) as found) as sized
           where bytes - size <= $6 or place <= 2
           order by created_at, id"#,
        account,
        conversation,
        time.map(Timestamp::to_sqlx) as _,
        id,
        limit,
        LARGEST
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list notes"))
    .await?;
    let fit = fitting(rows.iter().map(|row| row.fits));
    let notes = rows.into_iter().map(|row| Note {
        id: row.id,
        conversation_id: row.conversation_id,
        author_id: row.author_id,
        bot_id: row.bot_id,
        text: row.text,
        created_at: row.created_at,
    });
    Ok((notes.collect(), fit))
}

/// Raises the version of a conversation, if it still has this one: whoever watches it hears of the note.
pub async fn touch(tx: &mut Tx, account: Uuid, (id, version): (Uuid, i64)) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set version = version + 1 where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version
    )
    .execute(tx)
    .instrument(diwan_store::span("raise version for note"))
    .await?;
    Ok(done.rows_affected() == 1)
}
