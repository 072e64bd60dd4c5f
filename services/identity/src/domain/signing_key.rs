//! When which key signs access tokens, and for how long its tokens are accepted.
//!
//! A key comes into the set of public keys first as the next one, and signs from a time that is written down beforehand: so
//! no replica has to do anything at that moment, and all agree. There is always a next one, known to every verifier, so
//! that the present one can be withdrawn at once. A key that has been followed by another stays in the set until its tokens
//! have expired.

use std::time::Duration;

use diwan_access::{keys::JWKS_MAX_AGE, token::ACCESS_LIFE};
use diwan_proto::identity::v1::SigningKeyState;
use diwan_runtime::clock::after;
use jiff::Timestamp;

/// Between publication and first use: whoever keeps the set for as long as he may has asked again by then.
pub const AHEAD: Duration = JWKS_MAX_AGE.saturating_mul(2);
/// A key stays in the set for so long after the next one took over: the life of its tokens, and as much again for replicas that
/// were late to hear of it.
const KEPT: Duration = ACCESS_LIFE.saturating_mul(2);

/// A key and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id.
    pub id: String,
    /// Its public half.
    pub public: Vec<u8>,
    /// When it came into the set.
    pub published_at: Timestamp,
    /// From when it signs.
    pub signs_from: Timestamp,
    /// When it left the set because its last token had expired.
    pub expired_at: Option<Timestamp>,
    /// When an operator took it out of the set.
    pub withdrawn_at: Option<Timestamp>,
    /// Why he did.
    pub reason: String,
}

impl SigningKey {
    /// Whether it has left the set.
    pub fn has_left(&self) -> bool {
        self.expired_at.is_some() || self.withdrawn_at.is_some()
    }
}

/// The keys at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    /// Every key that has not left the set; others do no harm.
    pub keys: &'a [SigningKey],
    /// The moment.
    pub now: Timestamp,
}

impl<'a> Ring<'a> {
    fn usable(self) -> impl Iterator<Item = &'a SigningKey> {
        self.keys.iter().filter(|key| !key.has_left())
    }

    /// The key that signs: the last one whose time has come.
    pub fn signing(self) -> Option<&'a SigningKey> {
        self.usable().filter(|key| key.signs_from <= self.now).max_by_key(|key| key.signs_from)
    }

    /// The key that signs after it.
    pub fn next(self) -> Option<&'a SigningKey> {
        self.usable().filter(|key| key.signs_from > self.now).min_by_key(|key| key.signs_from)
    }

    /// When the last token that `key` signed is certain to have expired; `None` while none has followed it.
    pub fn leaves_at(self, key: &SigningKey) -> Option<Timestamp> {
        let followed = self.usable().map(|other| other.signs_from).filter(|from| *from > key.signs_from).min();
        followed.filter(|from| *from <= self.now).map(|from| after(from, KEPT))
    }

    /// Whether `key` is accepted.
    pub fn accepts(self, key: &SigningKey) -> bool {
        !key.has_left() && self.leaves_at(key).is_none_or(|leaves| leaves > self.now)
    }

    /// When a new next key is to sign that is made now: `period` after the present one began, if it has been known for long enough
    /// by then.
    pub fn signs_next(self, period: Duration) -> Timestamp {
        let soonest = after(self.now, AHEAD);
        self.signing().map_or(soonest, |key| after(key.signs_from, period).max(soonest))
    }

    /// Where `key` is in its life.
    pub fn state(self, key: &SigningKey) -> SigningKeyState {
        if key.withdrawn_at.is_some() {
            SigningKeyState::Withdrawn
        } else if !self.accepts(key) {
            SigningKeyState::Expired
        } else if key.signs_from > self.now {
            SigningKeyState::Next
        } else if self.signing() == Some(key) {
            SigningKeyState::Signing
        } else {
            SigningKeyState::Retired
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SigningKeyState::{Expired, Next, Retired, Signing};

    const DAY: Duration = Duration::from_hours(24);

    fn key(id: &str, published_at: Timestamp, signs_from: Timestamp) -> SigningKey {
        SigningKey {
            id: id.to_owned(),
            public: vec![0; 32],
            published_at,
            signs_from,
            expired_at: None,
            withdrawn_at: None,
            reason: String::new(),
        }
    }

    #[test]
    fn a_key_is_next_then_signs_then_is_kept_until_its_tokens_have_expired() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let keys = [key("a", start, start), key("b", start, after(start, DAY)), key("c", start, after(start, 2 * DAY))];
        let states = |at| keys.each_ref().map(|key| Ring { keys: &keys, now: at }.state(key));
        assert_eq!(states(start), [Signing, Next, Next]);
        assert_eq!(states(after(start, DAY)), [Retired, Signing, Next]);
        let almost = after(start, DAY + (2 * ACCESS_LIFE).saturating_sub(Duration::from_micros(1)));
        assert_eq!(states(almost), [Retired, Signing, Next]);
        assert_eq!(states(after(start, DAY + 2 * ACCESS_LIFE)), [Expired, Signing, Next]);
    }

    #[test]
    fn a_withdrawn_key_neither_signs_nor_is_accepted_and_an_older_one_does_not_come_back() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let now = after(start, DAY);
        let mut keys = vec![key("a", start, start), key("b", start, now)];
        keys[1].withdrawn_at = Some(now);
        keys.push(key("c", start, now));
        let ring = Ring { keys: &keys, now };
        assert_eq!(ring.signing(), Some(&keys[2]));
        assert!(!ring.accepts(&keys[1]));
        assert_eq!(ring.state(&keys[0]), Retired);
    }

    #[test]
    fn a_new_key_is_known_everywhere_before_it_signs_however_late_it_is_made() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let keys = [key("a", start, start)];
        assert_eq!(Ring { keys: &keys, now: start }.signs_next(DAY), after(start, DAY));
        let late = after(start, 3 * DAY);
        assert_eq!(Ring { keys: &keys, now: late }.signs_next(DAY), after(late, AHEAD));
        assert!(AHEAD > JWKS_MAX_AGE && AHEAD > Duration::from_secs(5));
    }
}
