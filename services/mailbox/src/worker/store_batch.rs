//! Stores what a fetch brought, together with the step of the cursor.
//!
//! Every UID that the cursor passes is stored, quarantined, or was proven expunged: rows and cursor commit together, and
//! the cursor only moves from where this replica has seen it.

use bytes::Bytes;
use diwan_imap::{Fetched, Message, Selected};
use diwan_runtime::ids;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::owned::Owned;
use crate::{
    domain::{
        incoming::{Fate, fingerprint, is_history, settle_sender},
        parse::{self, Parsed},
    },
    error::Error,
    store::{
        mailboxes::{self, Step},
        messages::{self, Attachment, NewMessage},
    },
};

/// How far INBOX is brought in.
pub(super) struct Cursor {
    uid_validity: i64,
    uid: i64,
    address: String,
    connected: Timestamp,
    /// Mail below this UID may be older than the mailbox's connection.
    history_below: i64,
}

impl Cursor {
    /// Where to go on in the folder just selected: at its beginning when it was numbered anew. What is known already is
    /// found again by its fingerprint then.
    pub(super) async fn open(owned: &Owned, inbox: Selected) -> Result<Self, Error> {
        let mailbox = owned.mailbox().await?;
        let mut cursor = Self {
            uid_validity: inbox.uid_validity.into(),
            uid: mailbox.cursor_uid,
            address: mailbox.address,
            connected: mailbox.created_at.to_jiff(),
            history_below: mailbox.history_below,
        };
        if mailbox.uid_validity != cursor.uid_validity {
            tracing::warn!(mailbox_id = %owned.id, "the server has numbered INBOX anew; it is gone through again");
            (cursor.uid, cursor.history_below) = (0, inbox.uid_next.map_or(i64::from(u32::MAX), i64::from));
            let mut connection = owned.connection().await?;
            let (old, new) = (mailbox.uid_validity, cursor.uid_validity);
            if !mailboxes::restart(&mut connection, owned.key(), old, new, cursor.history_below).await? {
                return Err(Error::Overtaken);
            }
        }
        Ok(cursor)
    }

    /// The first UID that is not dealt with.
    pub(super) fn next_uid(&self) -> u32 {
        u32::try_from(self.uid + 1).unwrap_or(u32::MAX)
    }

    /// Stores a batch and moves on behind it.
    pub(super) async fn store(&mut self, owned: &Owned, fetched: Vec<Fetched>) -> Result<(), Error> {
        let Some(last) = fetched.iter().map(Fetched::uid).max() else { return Ok(()) };
        let mut batch = Vec::new();
        for one in fetched {
            batch.extend(self.prepare(owned, one).await?);
        }
        let (from, to) = (self.uid, i64::from(last));
        self.commit(owned, &batch, from, to).await?;
        self.uid = to;
        Ok(())
    }

    async fn commit(&self, owned: &Owned, batch: &[NewMessage], from: i64, to: i64) -> Result<(), Error> {
        let now = owned.shared.clock.now();
        let committed = owned.shared.database.transaction("store batch", async |tx: &mut PgConnection| {
            let mut step = Step { uid_validity: self.uid_validity, from, to, messages: 0, quarantined: 0 };
            for message in batch {
                if !messages::renumber(tx, owned.key(), message).await? {
                    messages::insert(tx, owned.key(), message, now).await?;
                    step.messages += 1;
                    step.quarantined += i64::from(message.broken);
                }
            }
            if mailboxes::advance(tx, owned.key(), step).await? { Ok(()) } else { Err(Error::Overtaken) }
        });
        committed.await
    }

    /// A row for each but what is gone; its blobs are stored when this returns.
    async fn prepare(&self, owned: &Owned, fetched: Fetched) -> Result<Option<NewMessage>, Error> {
        let message = match fetched {
            Fetched::Gone { .. } => return Ok(None),
            Fetched::Message(message) => self.readable(owned, message, String::new()).await?,
            Fetched::Unparsable { uid, raw: Some(raw) } => {
                let message = Message { uid, flags: Vec::new(), internal_date: None, raw };
                self.readable(owned, message, "the server's answer could not be understood".into()).await?
            }
            Fetched::Unparsable { uid, raw: None } => {
                self.unread(owned, uid, 0, "the server's answer could not be understood".into())
            }
            Fetched::TooLarge { uid, size } => self.unread(owned, uid, size, format!("too large: {size} bytes")),
            Fetched::Refused { uid, answer } => self.unread(owned, uid, 0, format!("the server refuses it: {answer}")),
        };
        Ok(Some(message))
    }

    async fn readable(&self, owned: &Owned, message: Message, quarantine: String) -> Result<NewMessage, Error> {
        let raw = message.raw.clone();
        // A task of its own, because a parser takes its time; should even that fail, the mail counts as unreadable.
        let parsed = tokio::task::spawn_blocking(move || {
            let parsed = parse::parse(&raw);
            let fingerprint = fingerprint(&parsed.message_id, &raw);
            (parsed, fingerprint)
        });
        let (mut parsed, fingerprint) =
            parsed.await.unwrap_or_else(|_| (parse::unreadable(), fingerprint("", &message.raw)));
        parsed.broken |= !quarantine.is_empty();
        let fate = self.fate(&mut parsed, message.uid, message.internal_date);
        let attachments = attachments(owned, &mut parsed).await?;
        let size = i64::try_from(message.raw.len()).unwrap_or(i64::MAX);
        let sha256 = owned.shared.mails(owned.account).put(message.raw).await?;
        let row = self.row(owned, message.uid, parsed);
        Ok(NewMessage {
            sha256: Some(sha256),
            fingerprint,
            size,
            received_at: message.internal_date.unwrap_or(row.received_at),
            state: fate.name(),
            attachments,
            quarantine,
            ..row
        })
    }

    /// What is shown of a mail that the server does not hand out.
    fn unread(&self, owned: &Owned, uid: u32, size: u64, why: String) -> NewMessage {
        let parsed = Parsed { text: format!("[This mail could not be fetched: {why}]"), ..parse::unreadable() };
        let row = self.row(owned, uid, parsed);
        NewMessage { size: i64::try_from(size).unwrap_or(i64::MAX), quarantine: why, ..row }
    }

    fn fate(&self, parsed: &mut Parsed, uid: u32, received: Option<Timestamp>) -> Fate {
        match settle_sender(parsed, &self.address) {
            Some(fate) => fate,
            None if i64::from(uid) < self.history_below && is_history(received, self.connected) => Fate::History,
            None => Fate::Pending,
        }
    }

    fn row(&self, owned: &Owned, uid: u32, parsed: Parsed) -> NewMessage {
        NewMessage {
            id: ids::new_id(),
            uid_validity: self.uid_validity,
            uid: uid.into(),
            sha256: None,
            // Of nothing but its place: never taken for another mail.
            fingerprint: fingerprint("", format!("{} {} {uid}", owned.id, self.uid_validity).as_bytes()),
            size: 0,
            received_at: owned.shared.clock.now(),
            state: Fate::Pending.name(),
            from_email: parsed.from_email,
            from_name: parsed.from_name,
            subject: parsed.subject,
            body: parsed.text,
            rfc_message_id: parsed.message_id,
            thread: parsed.thread,
            attachments: Vec::new(),
            automatic: parsed.automatic,
            broken: parsed.broken,
            quarantine: String::new(),
        }
    }
}

async fn attachments(owned: &Owned, parsed: &mut Parsed) -> Result<Vec<Attachment>, Error> {
    let mut attachments = Vec::new();
    for file in std::mem::take(&mut parsed.files) {
        let size = i64::try_from(file.content.len()).unwrap_or(i64::MAX);
        let sha256 = owned.shared.mails(owned.account).put(Bytes::clone(&file.content)).await?;
        attachments.push(Attachment { name: file.name, media_type: file.media_type, size, sha256 });
    }
    Ok(attachments)
}
