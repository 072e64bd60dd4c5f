//! The audit log: what an entry says, how entries hang together, and what shows that they do not.

use std::collections::BTreeSet;

use diwan_audit::{origin::Origin, shown};
use diwan_feed::Event;
use diwan_proto::{
    audit::v1::{ActorKind, Recorded},
    identity::v1::AuditFlaw,
};
use jiff::Timestamp;
use prost::Message;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// SHA-256.
pub type Hash = [u8; 32];
/// Before the first entry.
pub const BEGINNING: Hash = [0; 32];
/// Of another layout, or of another thing, no hash is the same.
const DOMAIN: &[u8] = b"diwan audit entry 1";
/// What tells streams to look again and changes nothing.
const NO_CHANGES: [&str; 2] = ["diwan.conversation.v1.InboxScopeChanged", "diwan.conversation.v1.BoardChanged"];

/// What an entry says. It is stored as it is encoded once, and the hash covers those bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Content {
    /// The service whose feed told it.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Microseconds since 1970.
    #[prost(int64, tag = "2")]
    pub occurred_at: i64,
    /// Who, what and from where.
    #[prost(message, optional, tag = "3")]
    pub origin: Option<Origin>,
    /// What happened, where the method does not say it.
    #[prost(string, tag = "4")]
    pub event: String,
    /// The kind of what was changed, or empty.
    #[prost(string, tag = "5")]
    pub entity_kind: String,
    /// Which one, 16 bytes.
    #[prost(bytes = "vec", tag = "6")]
    pub entity_id: Vec<u8>,
    /// Its version after the change, or 0.
    #[prost(int64, tag = "7")]
    pub entity_version: i64,
    /// What was asked: a JSON object, or empty.
    #[prost(string, tag = "8")]
    pub request: String,
    /// What it was: a JSON object, or empty.
    #[prost(string, tag = "9")]
    pub before: String,
    /// What it is: a JSON object, or empty.
    #[prost(string, tag = "10")]
    pub after: String,
    /// The trace of the request, or empty.
    #[prost(string, tag = "11")]
    pub trace_id: String,
}

impl Content {
    /// What an event of the feed of `service` tells; `None` for one that tells of no change.
    ///
    /// # Errors
    /// When it says that it is a [`Recorded`] and cannot be read as one.
    pub fn of(service: &str, event: &Event) -> Result<Option<Self>, prost::DecodeError> {
        if NO_CHANGES.contains(&&*event.kind) {
            return Ok(None);
        }
        // Whoever made a change before origins were told is not known.
        let unknown = || Origin { actor: ActorKind::Unspecified.into(), ..Origin::default() };
        let told = Self {
            service: service.to_owned(),
            occurred_at: event.occurred_at.as_microsecond(),
            origin: Some(event.origin.clone().unwrap_or_else(unknown)),
            entity_id: event.entity.as_bytes().to_vec(),
            entity_version: event.version,
            trace_id: event.trace_id().unwrap_or_default(),
            ..Self::default()
        };
        Ok(Some(match event.payload::<Recorded>()? {
            Some(Recorded { event, entity_kind, request, before, after }) => {
                Self { event, entity_kind, request, before, after, ..told }
            }
            None => match shown::thing(&event.kind, event.encoded()) {
                Some(thing) => Self { entity_kind: thing.kind, after: thing.json.to_string(), ..told },
                None => Self { entity_kind: event.kind.trim_end_matches("Changed").to_owned(), ..told },
            },
        }))
    }

    /// When it happened.
    pub fn occurred_at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.occurred_at).unwrap_or_default()
    }

    /// What was changed.
    pub fn entity(&self) -> Uuid {
        Uuid::from_slice(&self.entity_id).unwrap_or_default()
    }

    /// Who is looked for: the id of a user or a principal, otherwise the name.
    pub fn actor(&self) -> &str {
        let Some(origin) = &self.origin else { return "" };
        match origin.actor() {
            ActorKind::User | ActorKind::Principal => &origin.actor_id,
            _ => &origin.actor_name,
        }
    }

    /// What was called.
    pub fn method(&self) -> &str {
        self.origin.as_ref().map(|origin| &*origin.method).unwrap_or_default()
    }

    /// The method's own name, e.g. `UpdateTeam`.
    pub fn call(&self) -> &str {
        own_name(self.method())
    }

    /// For whom, or empty.
    pub fn acting_for(&self) -> &str {
        self.origin.as_ref().map(|origin| &*origin.acting_for).unwrap_or_default()
    }

    /// Whether it stands for the call of an operator, which may name an account that does not exist.
    pub fn is_operators_call(&self) -> bool {
        self.event == diwan_audit::operator::EVENT
    }
}

/// A method's name without its gRPC service.
pub fn own_name(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or_default()
}

/// What makes an event this one: the same after the feed was replayed or restored, where only its position is another.
pub fn event_id(service: &str, event: &Event) -> Hash {
    let mut digest = Sha256::new();
    for text in [service.as_bytes(), event.kind.as_bytes(), event.encoded()] {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    }
    digest.update(event.account);
    digest.update(event.entity);
    for number in [event.version, event.position.sequence, event.occurred_at.as_microsecond()] {
        digest.update(number.to_be_bytes());
    }
    digest.finalize().into()
}

/// The hash of an entry: of the one before it, its account, its number and its content.
pub fn link(account: Uuid, number: i64, previous: &Hash, content: &[u8]) -> Hash {
    let head = Sha256::new().chain_update(DOMAIN).chain_update(account).chain_update(number.to_be_bytes());
    head.chain_update(previous).chain_update(content).finalize().into()
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub number: i64,
    /// The event behind it.
    pub event_id: Vec<u8>,
    /// Its hash.
    pub hash: Vec<u8>,
    /// The encoded [`Content`].
    pub content: Vec<u8>,
}

/// Where the log of an account ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 before the first.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self { number: 0, hash: BEGINNING };

    /// The entry that follows, and the head after it.
    pub fn append(self, account: Uuid, event_id: Vec<u8>, content: Vec<u8>) -> (Entry, Self) {
        let number = self.number + 1;
        let hash = link(account, number, &self.hash, &content);
        (Entry { number, event_id, hash: hash.to_vec(), content }, Self { number, hash })
    }
}

/// The first flaw of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub kind: AuditFlaw,
    /// With which entry.
    pub number: i64,
}

/// Goes through a log from its first entry on.
pub struct Verification {
    account: Uuid,
    /// By number. Two that contradict one another both stay: no log can agree with both.
    exported: BTreeSet<(i64, Hash)>,
    head: Head,
}

impl Verification {
    /// Of the log of `account`, which once ended with each of the heads `exported`.
    pub fn new(account: Uuid, exported: impl IntoIterator<Item = Head>) -> Self {
        let exported = exported.into_iter().map(|head| (head.number, head.hash)).collect();
        Self { account, exported, head: Head::START }
    }

    /// The last entry seen.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Looks at the next entry. `is_found_by` says whether it is found by what it says.
    ///
    /// # Errors
    /// The flaw that it shows.
    pub fn take(&mut self, entry: &Entry, is_found_by: impl FnOnce(&Content) -> bool) -> Result<(), Flaw> {
        let number = self.head.number + 1;
        if entry.number != number {
            return Err(Flaw { kind: AuditFlaw::Removed, number });
        }
        let hash = link(self.account, number, &self.head.hash, &entry.content);
        let is_itself =
            entry.hash == hash && Content::decode(entry.content.as_slice()).is_ok_and(|said| is_found_by(&said));
        if !is_itself {
            return Err(Flaw { kind: AuditFlaw::Changed, number });
        }
        let mut exported = self.exported.range((number, Hash::default())..=(number, [u8::MAX; 32]));
        if exported.any(|(_, exported)| *exported != hash) {
            return Err(Flaw { kind: AuditFlaw::Rewritten, number });
        }
        self.head = Head { number, hash };
        Ok(())
    }

    /// Looks at the end: `stored` is the head as the log keeps it itself.
    ///
    /// # Errors
    /// The flaw that the end shows.
    pub fn finish(self, stored: Head) -> Result<Head, Flaw> {
        let longest = self.exported.last().map_or(0, |(number, _)| *number).max(stored.number);
        if longest > self.head.number {
            return Err(Flaw { kind: AuditFlaw::Truncated, number: self.head.number + 1 });
        }
        if stored != self.head {
            return Err(Flaw { kind: AuditFlaw::Changed, number: self.head.number });
        }
        Ok(self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(contents: &[&str]) -> (Vec<Entry>, Head) {
        let mut head = Head::START;
        let mut entries = Vec::new();
        for text in contents {
            let content = Content { event: (*text).to_owned(), ..Content::default() }.encode_to_vec();
            let (entry, next) = head.append(Uuid::nil(), vec![0; 32], content);
            entries.push(entry);
            head = next;
        }
        (entries, head)
    }

    fn verify(entries: &[Entry], stored: Head, exported: &[Head]) -> Result<Head, (AuditFlaw, i64)> {
        let mut verification = Verification::new(Uuid::nil(), exported.iter().copied());
        let looked = entries.iter().try_for_each(|entry| verification.take(entry, |_| true));
        looked.and_then(|()| verification.finish(stored)).map_err(|flaw| (flaw.kind, flaw.number))
    }

    #[test]
    fn a_log_that_nobody_touched_has_no_flaw() {
        let (entries, head) = log(&["a", "b", "c"]);
        let (_, earlier) = log(&["a", "b"]);
        assert_eq!(verify(&entries, head, &[earlier, head]), Ok(head));
        assert_eq!(verify(&[], Head::START, &[]), Ok(Head::START));
    }

    #[test]
    fn whatever_is_done_to_a_log_shows() {
        let (entries, head) = log(&["a", "b", "c", "d"]);
        let mut changed = entries.clone();
        changed[1].content = log(&["x"]).0[0].content.clone();
        assert_eq!(verify(&changed, head, &[]), Err((AuditFlaw::Changed, 2)));
        let removed = [&entries[..1], &entries[2..]].concat();
        assert_eq!(verify(&removed, head, &[]), Err((AuditFlaw::Removed, 2)));
        assert_eq!(verify(&entries[1..], head, &[]), Err((AuditFlaw::Removed, 1)));
        let mut reordered = entries.clone();
        reordered.swap(1, 2);
        (reordered[1].number, reordered[2].number) = (2, 3);
        assert_eq!(verify(&reordered, head, &[]), Err((AuditFlaw::Changed, 2)));
        let mut inserted = entries.clone();
        inserted.insert(2, Entry { number: 3, ..entries[1].clone() });
        inserted[3].number = 4;
        inserted[4].number = 5;
        assert_eq!(verify(&inserted, head, &[]), Err((AuditFlaw::Changed, 3)));
        assert_eq!(verify(&entries[..3], head, &[]), Err((AuditFlaw::Truncated, 4)));
    }

    #[test]
    fn who_writes_it_anew_or_cuts_it_off_with_its_head_is_given_away_by_an_exported_head() {
        let (_, exported) = log(&["a", "b", "c"]);
        let (anew, head) = log(&["a", "x", "c", "d"]);
        assert_eq!(verify(&anew, head, &[]), Ok(head), "a log agrees with itself");
        assert_eq!(verify(&anew, head, &[exported]), Err((AuditFlaw::Rewritten, 3)));
        let (_, signed_later) = log(&["a", "x", "c"]);
        for both in [[exported, signed_later], [signed_later, exported]] {
            assert_eq!(
                verify(&anew, head, &both),
                Err((AuditFlaw::Rewritten, 3)),
                "a second head hides the first from nobody"
            );
        }
        let (short, head) = log(&["a", "b"]);
        assert_eq!(verify(&short, head, &[]), Ok(head));
        assert_eq!(verify(&short, head, &[exported]), Err((AuditFlaw::Truncated, 3)));
    }
}
