//! Messages of conversations.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{LARGEST, Tx, fitting};
use crate::{
    Error,
    domain::{
        state::{Delivery, Direction},
        thread::Parent,
    },
};

/// A file that came with a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attachment {
    pub name: String,
    pub media_type: String,
    pub size: i64,
    pub sha256: String,
}

/// A message as it is stored.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub direction: String,
    pub author_id: Option<Uuid>,
    pub bot_id: Option<Uuid>,
    pub text: String,
    pub subject: String,
    pub rfc_message_id: String,
    /// In-Reply-To and References, oldest first.
    pub rfc_references: Vec<String>,
    pub attachments: Json<Vec<Attachment>>,
    pub delivery: Option<String>,
    pub delivery_error: String,
    pub broken: bool,
    /// A machine wrote it (RFC 3834).
    pub automatic: bool,
    pub created_at: SqlTimestamp,
}

impl Message {
    /// As the protocol shows it.
    pub fn to_proto(&self) -> Result<proto::Message, Error> {
        let direction = Direction::of_name(&self.direction).ok_or(Error::Unknown("direction"))?;
        let delivery = |name: &str| Delivery::of_name(name).ok_or(Error::Unknown("delivery"));
        let attachment = |file: &Attachment| proto::Attachment {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            sha256: file.sha256.clone(),
        };
        Ok(proto::Message {
            id: self.id.to_string(),
            conversation_id: self.conversation_id.to_string(),
            direction: direction.to_proto().into(),
            author_id: self.author_id.map(|id| id.to_string()).unwrap_or_default(),
            text: self.text.clone(),
            subject: self.subject.clone(),
            rfc_message_id: self.rfc_message_id.clone(),
            attachments: self.attachments.iter().map(attachment).collect(),
            delivery: self.delivery.as_deref().map_or(Ok(0), |name| delivery(name).map(|d| d.to_proto().into()))?,
            delivery_error: self.delivery_error.clone(),
            created_at: Some(to_proto(self.created_at.to_jiff())),
            broken: self.broken,
            automatic: self.automatic,
            bot_id: self.bot_id.map(|id| id.to_string()).unwrap_or_default(),
        })
    }
}

/// Stores a message. `false`: one with this id is stored already.
pub async fn insert(tx: &mut Tx, account: Uuid, message: &Message) -> Result<bool, Error> {
    let done = sqlx::query!(
        "insert into messages (account_id, id, conversation_id, direction, author_id, text, subject, rfc_message_id,
                               rfc_references, attachments, delivery, broken, automatic, created_at, bot_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         on conflict (account_id, id) do nothing",
        account,
        message.id,
        message.conversation_id,
        message.direction,
        message.author_id,
        message.text,
        message.subject,
        message.rfc_message_id,
        &message.rfc_references,
        &message.attachments as _,
        message.delivery,
        message.broken,
        message.automatic,
        message.created_at as _,
        message.bot_id
    )
    .execute(tx)
    .instrument(diwan_store::span("insert message"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The conversation of a message.
pub async fn conversation_of(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Uuid>, Error> {
    let found =
        sqlx::query_scalar!("select conversation_id from messages where account_id = $1 and id = $2", account, id)
            .fetch_optional(tx)
            .instrument(diwan_store::span("find message"))
            .await?;
    Ok(found)
}

/// The conversation that a mail with these references belongs to: that of the nearest one that is known, in the same mailbox if
/// one mail came to several. Whoever names a mail of ours has got it. A Message-ID of a customer proves nothing, so it leads
/// into his conversation only himself: a stranger's words must not stand there as his.
pub async fn thread(
    tx: &mut Tx,
    account: Uuid,
    mailbox: Uuid,
    nearest_first: &[String],
    sender_key: Option<&str>,
) -> Result<Option<Uuid>, Error> {
    if nearest_first.is_empty() {
        return Ok(None);
    }
    let found = sqlx::query_scalar!(
        "select m.conversation_id
         from unnest($2::text[]) with ordinality as r (id, place)
         join messages m on m.account_id = $1 and md5(m.rfc_message_id) = md5(r.id) and m.rfc_message_id = r.id
             and m.rfc_message_id <> ''
         join conversations c on c.account_id = $1 and c.id = m.conversation_id
         join contacts k on k.account_id = $1 and k.id = c.contact_id
         where m.direction = 'OUT' or k.email_key = $4
         order by r.place, c.mailbox_id = $3 desc, c.created_at desc
         limit 1",
        account,
        nearest_first,
        mailbox,
        sender_key
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("find thread"))
    .await?;
    Ok(found)
}

/// What an answer in this conversation refers to: the customer's last message.
pub async fn parent(tx: &mut Tx, account: Uuid, conversation: Uuid) -> Result<Parent, Error> {
    let row = sqlx::query!(
        "select rfc_message_id, rfc_references from messages
         where account_id = $1 and conversation_id = $2 and direction = 'IN'
         order by created_at desc, id desc limit 1",
        account,
        conversation
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("read parent"))
    .await?;
    Ok(row.map(|row| Parent { message_id: row.rfc_message_id, references: row.rfc_references }).unwrap_or_default())
}

/// The text of a conversation's first message.
pub async fn first_text(tx: &mut Tx, account: Uuid, conversation: Uuid) -> Result<String, Error> {
    let text = sqlx::query_scalar!(
        "select text from messages where account_id = $1 and conversation_id = $2 and direction = 'IN'
         order by created_at, id limit 1",
        account,
        conversation
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("read first message"))
    .await?;
    Ok(text.unwrap_or_default())
}

/// Each customer's last message, of as many of the first of these conversations as fit into an answer: how many of them, one at least.
pub async fn last_of_customers(
    tx: &mut Tx,
    account: Uuid,
    conversations: &[Uuid],
) -> Result<(Vec<Message>, usize), Error> {
    let rows = sqlx::query_as!(
        Message,
        r#"select id, conversation_id, direction, author_id, bot_id, text, subject, rfc_message_id, rfc_references,
                  attachments as "attachments: Json<Vec<Attachment>>", delivery, delivery_error, broken, automatic,
                  created_at as "created_at: SqlTimestamp"
           from (select *, sum(octet_length(text) + octet_length(attachments::text)) over (order by place) as bytes
                 from unnest($2::uuid[]) with ordinality as asked (conversation, place)
                 cross join lateral
                     (select * from messages
                      where account_id = $1 and conversation_id = asked.conversation and direction = 'IN'
                      order by created_at desc, id desc limit 1) as last) as sized
           where bytes <= $3 or place = 1
           order by place"#,
        account,
        conversations,
        LARGEST
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("read last messages"))
    .await?;
    let fit = conversations.iter().zip(&rows).take_while(|(id, row)| **id == row.conversation_id).count();
    Ok((rows, fit.max(1)))
}

/// Those of a conversation, oldest first, after `after`, and how many of them fit into an answer.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    conversation: Uuid,
    after: Option<(Timestamp, Uuid)>,
    limit: i64,
) -> Result<(Vec<Message>, i64), Error> {
    let (time, id) = after.unzip();
    let rows = sqlx::query!(
        r#"select id, conversation_id, direction, author_id, text, subject, rfc_message_id, rfc_references,
                  attachments as "attachments: Json<Vec<Attachment>>", delivery, delivery_error, bot_id, broken, automatic,
                  created_at as "created_at: SqlTimestamp", bytes <= $6 as "fits!"
           from (select *, sum(size) over (order by created_at, id) as bytes, row_number() over (order by created_at, id) as place
                 from (select *, octet_length(text) + octet_length(attachments::text) as size from messages
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
    .instrument(diwan_store::span("list messages"))
    .await?;
    let fit = fitting(rows.iter().map(|row| row.fits));
    let messages = rows.into_iter().map(|row| Message {
        id: row.id,
        conversation_id: row.conversation_id,
        direction: row.direction,
        author_id: row.author_id,
        bot_id: row.bot_id,
        text: row.text,
        subject: row.subject,
        rfc_message_id: row.rfc_message_id,
        rfc_references: row.rfc_references,
        attachments: row.attachments,
        delivery: row.delivery,
        delivery_error: row.delivery_error,
        broken: row.broken,
        automatic: row.automatic,
        created_at: row.created_at,
    });
    Ok((messages.collect(), fit))
}

/// Notes what became of a message that we sent. What was sent stays sent. `false`: nothing changed.
pub async fn set_delivery(
    tx: &mut Tx,
    account: Uuid,
    id: Uuid,
    delivery: Delivery,
    error: &str,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update messages set delivery = $3, delivery_error = $4
         where account_id = $1 and id = $2 and direction = 'OUT' and delivery <> 'SENT'
           and (delivery, delivery_error) is distinct from ($3, $4)",
        account,
        id,
        delivery.name(),
        error
    )
    .execute(tx)
    .instrument(diwan_store::span("set delivery"))
    .await?;
    Ok(done.rows_affected() == 1)
}
