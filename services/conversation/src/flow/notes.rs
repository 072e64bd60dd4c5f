//! Internal notes.

use diwan_access::User;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use super::reply::Author;
use crate::{
    Error,
    domain::{scope::Scope, state::Cause},
    store::{
        Tx,
        conversations::{self, Conversation},
        lost_race,
        notes::{self, Note},
        record::{Changed, Why, record},
    },
};

/// Adds a note to a conversation that the caller sees.
pub async fn add(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    id: Uuid,
    text: &str,
    now: Timestamp,
) -> Result<Note, Error> {
    let account = caller.account_id;
    let found = conversations::visible(tx, account, id, scope).await?;
    append(tx, caller, &found, text, now).await.map(|(note, _)| note)
}

/// Adds a note to a conversation as it was read. Returns it, and the conversation after it.
pub async fn append(
    tx: &mut Tx,
    caller: &User,
    found: &Conversation,
    text: &str,
    now: Timestamp,
) -> Result<(Note, Conversation), Error> {
    let (account, id) = (caller.account_id, found.id);
    if !notes::touch(tx, account, (id, found.version)).await? {
        return Err(lost_race(tx).await);
    }
    let note = keep(tx, account, id, Author::User(caller.user_id), text, now).await?;
    let why = Why::by(Cause::Note, caller.user_id);
    let after = record(tx, account, why, &[Changed::from(id, Some(found.facts()?))], now).await?;
    Ok((note, after.into_iter().next().ok_or(Error::NotFound)?))
}

/// Keeps a note of a conversation that is changed, and so locked, by this transaction.
pub async fn keep(
    tx: &mut Tx,
    account: Uuid,
    conversation: Uuid,
    author: Author,
    text: &str,
    now: Timestamp,
) -> Result<Note, Error> {
    let (author_id, bot_id) = author.ids();
    let note = Note {
        id: ids::new_id(),
        conversation_id: conversation,
        author_id,
        bot_id,
        text: text.to_owned(),
        created_at: now.to_sqlx(),
    };
    notes::insert(tx, account, &note).await?;
    Ok(note)
}
