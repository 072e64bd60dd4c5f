//! Bringing messages in: each UID asked for gets its answer, whatever the server makes of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;

use super::Session;
use crate::{
    command::Command,
    error::{Error, Kind, Step},
    fetch_data::{Body, FetchData},
    response::Data,
    status::Answer,
    uid_set,
};

/// A message as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its UID in the selected folder.
    pub uid: u32,
    /// Its flags, e.g. `\Seen`.
    pub flags: Vec<String>,
    /// When the server received it, where it says so.
    pub internal_date: Option<Timestamp>,
    /// Header and body, as received.
    pub raw: Bytes,
}

/// What became of one UID that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// Here it is.
    Message(Message),
    /// It is larger than [`crate::Limits::max_message`].
    TooLarge {
        /// Its UID.
        uid: u32,
        /// Its size in bytes.
        size: u64,
    },
    /// It exists, but no readable answer for it could be had, also not when asked for alone.
    Unparsable {
        /// Its UID.
        uid: u32,
        /// What the server sent as its text, if anything.
        raw: Option<Bytes>,
    },
    /// It exists, and the server refuses it while it hands out others.
    Refused {
        /// Its UID.
        uid: u32,
        /// The server's words.
        answer: Answer,
    },
    /// It does not exist any more: a successful search did not list it.
    Gone {
        /// Its UID.
        uid: u32,
    },
}

impl Fetched {
    /// The UID that this is about.
    pub fn uid(&self) -> u32 {
        match self {
            Self::Message(Message { uid, .. })
            | Self::TooLarge { uid, .. }
            | Self::Unparsable { uid, .. }
            | Self::Refused { uid, .. }
            | Self::Gone { uid } => *uid,
        }
    }

    /// Whether the server was able to hand out anything for it.
    fn is_handed_out(&self) -> bool {
        matches!(self, Self::Message(_) | Self::Unparsable { .. })
    }
}

/// What one UID FETCH of bodies brought.
#[derive(Default)]
struct Haul {
    found: BTreeMap<u32, Fetched>,
    /// Texts that could not be tied to a UID.
    stray: Option<Bytes>,
    refusal: Option<Refusal>,
}

/// A tagged NO or BAD, which some servers give when one of many messages fails.
struct Refusal {
    kind: fn(Answer) -> Kind,
    answer: Answer,
}

impl Session {
    /// UID FETCH: brings in the first of `pending`, as many as [`crate::Limits`] has in one batch, and takes them off
    /// the list; call it until `pending` is empty. Each UID taken off is in the result exactly once. Nothing is
    /// marked as read.
    ///
    /// # Errors
    /// `pending` is as it was. A refusal is an error unless the server hands out another message of the same batch; a
    /// caller who asks for a single one and is refused again and again has found out that it is this one.
    pub async fn fetch(&mut self, pending: &mut Vec<u32>) -> Result<Vec<Fetched>, Error> {
        let found = self.bring(pending).await.map_err(Error::at(Step::Command("UID FETCH")))?;
        pending.retain(|uid| !found.contains_key(uid));
        Ok(found.into_values().collect())
    }

    async fn bring(&mut self, pending: &[u32]) -> Result<BTreeMap<u32, Fetched>, Kind> {
        self.require_selected()?;
        if pending.contains(&0) {
            return Err(Kind::Argument("0 is no UID"));
        }
        let head = &pending[..pending.len().min(self.limits.batch_messages.max(1))];
        let sizes = self.sizes(&head.iter().copied().collect()).await?;
        let (asked, mut found) = self.plan(head, &sizes);
        let haul = self.bodies(&asked, self.limits.batch_bytes.saturating_add(self.limits.max_message)).await?;
        found.extend(haul.found);
        let missing: BTreeSet<u32> = asked.into_iter().filter(|uid| !found.contains_key(uid)).collect();
        let refusal = self.settle(missing, &mut found).await?;
        match refusal {
            // It handed out none at all: the server's trouble, not the messages'.
            Some(Refusal { kind, answer }) if !found.values().any(Fetched::is_handed_out) => Err(kind(answer)),
            _ => Ok(found),
        }
    }

    /// RFC822.SIZE of each. Best effort: a message without one is bounded by what the decoder keeps.
    async fn sizes(&mut self, uids: &BTreeSet<u32>) -> Result<BTreeMap<u32, u64>, Kind> {
        let mut sizes = BTreeMap::new();
        if uids.is_empty() {
            return Ok(sizes);
        }
        let take = |data| {
            if let Data::Fetch(_, FetchData { uid: Some(uid), size: Some(size), .. }) = &data {
                sizes.insert(*uid, *size);
            }
            Some(data)
        };
        let said = self.exchange(command(uids, "(UID RFC822.SIZE)"), take).await;
        self.refusal(said)?;
        Ok(sizes)
    }

    /// The beginning of `head` that fits into one batch, and of it what is too large to be asked for.
    fn plan(&self, head: &[u32], sizes: &BTreeMap<u32, u64>) -> (BTreeSet<u32>, BTreeMap<u32, Fetched>) {
        let (mut asked, mut too_large, mut bytes) = (BTreeSet::new(), BTreeMap::new(), 0_u64);
        for uid in head {
            let size = sizes.get(uid).copied().unwrap_or(0);
            if size > self.limits.max_message as u64 {
                too_large.insert(*uid, Fetched::TooLarge { uid: *uid, size });
                continue;
            }
            bytes = size.saturating_add(bytes);
            if bytes > self.limits.batch_bytes as u64 && !asked.is_empty() {
                break;
            }
            asked.insert(*uid);
        }
        (asked, too_large)
    }

    async fn bodies(&mut self, asked: &BTreeSet<u32>, allowance: usize) -> Result<Haul, Kind> {
        let mut haul = Haul::default();
        if asked.is_empty() {
            return Ok(haul);
        }
        let mut told: BTreeMap<u32, FetchData> = BTreeMap::new();
        let take = |data| match data {
            Data::Fetch(_, data @ FetchData { uid: Some(uid), .. }) if asked.contains(&uid) => {
                told.entry(uid).or_default().merge(data);
                None
            }
            Data::Fetch(_, FetchData { uid: Some(_), .. }) => Some(data),
            Data::Fetch(_, FetchData { body: Some(Body::Raw(raw)), .. }) | Data::BrokenFetch(Some(raw)) => {
                haul.stray = Some(raw);
                None
            }
            data => Some(data),
        };
        let said = self.exchange_within(allowance, command(asked, "(UID FLAGS INTERNALDATE BODY.PEEK[])"), take).await;
        haul.refusal = self.refusal(said)?;
        let max = self.limits.max_message as u64;
        haul.found = told.into_iter().filter_map(|(uid, data)| Some((uid, delivered(uid, data, max)?))).collect();
        Ok(haul)
    }

    /// What came before a tagged NO or BAD is as good as any. But when the server is in trouble (or the session
    /// broken), asking again at once for each message would only make it worse.
    fn refusal(&self, said: Result<Answer, Kind>) -> Result<Option<Refusal>, Kind> {
        match said {
            Ok(_) => Ok(None),
            Err(kind) if self.is_poisoned() => Err(kind),
            Err(Kind::No(answer)) if !answer.is_passing() => Ok(Some(Refusal { kind: Kind::No, answer })),
            Err(Kind::Bad(answer)) if !answer.is_passing() => Ok(Some(Refusal { kind: Kind::Bad, answer })),
            Err(kind) => Err(kind),
        }
    }

    /// Finds out about each of those that the batch did not bring: gone, or else asked for alone.
    async fn settle(
        &mut self,
        missing: BTreeSet<u32>,
        found: &mut BTreeMap<u32, Fetched>,
    ) -> Result<Option<Refusal>, Kind> {
        let mut refusal = None;
        if missing.is_empty() {
            return Ok(None);
        }
        let existing = self.existing(&missing).await?;
        for uid in missing {
            let (one, refused) =
                if existing.contains(&uid) { self.alone(uid).await? } else { (Fetched::Gone { uid }, None) };
            refusal = refused.or(refusal);
            found.insert(uid, one);
        }
        Ok(refusal)
    }

    /// Asked for alone, even an answer that does not name its UID is known to be about it.
    async fn alone(&mut self, uid: u32) -> Result<(Fetched, Option<Refusal>), Kind> {
        let asked = BTreeSet::from([uid]);
        let mut haul = self.bodies(&asked, self.limits.max_message).await?;
        let one = match (haul.found.remove(&uid), &haul.refusal, haul.stray) {
            (Some(found), _, _) => found,
            (None, Some(Refusal { answer, .. }), _) => Fetched::Refused { uid, answer: answer.clone() },
            (None, None, None) if !self.existing(&asked).await?.contains(&uid) => Fetched::Gone { uid },
            (None, None, raw) => Fetched::Unparsable { uid, raw },
        };
        Ok((one, haul.refusal))
    }
}

fn command(uids: &BTreeSet<u32>, items: &str) -> Command<'static> {
    Command::new("UID FETCH").word(&uid_set::format(uids.iter().copied())).word(items)
}

/// None when the text did not come, or was skipped only because the batch was full.
fn delivered(uid: u32, data: FetchData, max: u64) -> Option<Fetched> {
    match data.body? {
        Body::Raw(raw) => {
            let (flags, internal_date) = (data.flags.unwrap_or_default(), data.internal_date);
            Some(Fetched::Message(Message { uid, flags, internal_date, raw }))
        }
        Body::Skipped(size) => (size > max).then_some(Fetched::TooLarge { uid, size }),
    }
}
