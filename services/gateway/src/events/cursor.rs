//! Where a reader of an account's events stands: one place in the feed of each service, folded into one opaque text.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use diwan_proto::feed::v1::Cursor;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The first byte; another layout takes another number.
const VERSION: u8 = 1;
const DIGEST: usize = 8;

/// The last event seen, by service. Without an entry: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<String, (i64, i64, i64)>);

impl Places {
    /// Reads a cursor of `account` for these services; `None` for what is none. An empty one is the beginning.
    pub(super) fn read(text: &str, account: Uuid, services: &[&str]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let places = bytes.strip_prefix(&[VERSION])?.strip_prefix(&digest(account))?;
        let places: BTreeMap<String, (i64, i64, i64)> = serde_json::from_slice(places).ok()?;
        let known = |(service, place): (&String, &(i64, i64, i64))| {
            services.contains(&service.as_str()) && place.0 >= 0 && place.1 >= 0 && place.2 >= 0
        };
        places.iter().all(known).then_some(Self(places))
    }

    /// As it goes to the reader. It names places, which say nothing without the events, and grants nothing.
    #[expect(clippy::expect_used, reason = "names and numbers always have a JSON form")]
    pub(super) fn write(&self, account: Uuid) -> String {
        let places = serde_json::to_vec(&self.0).expect("a JSON form");
        BASE64_URL_SAFE_NO_PAD.encode([&[VERSION][..], &digest(account), &places].concat())
    }

    /// The last event seen of a service.
    pub(super) fn of(&self, service: &str) -> Option<Cursor> {
        let (generation, transaction, sequence) = *self.0.get(service)?;
        Some(Cursor { generation, transaction, sequence })
    }

    /// That event has been seen.
    pub(super) fn advance(&mut self, service: &str, to: Cursor) {
        self.0.insert(service.to_owned(), (to.generation, to.transaction, to.sequence));
    }
}

fn digest(account: Uuid) -> [u8; DIGEST] {
    let full = Sha256::digest(account);
    std::array::from_fn(|index| full[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: [&str; 2] = ["identity", "team"];

    #[test]
    fn a_cursor_survives_the_wire_and_is_good_for_its_account_only() {
        let (account, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut places = Places::default();
        places.advance("team", Cursor { generation: 1, transaction: 2, sequence: 3 });
        let text = places.write(account);
        assert_eq!(Places::read(&text, account, &SERVICES), Some(places));
        assert_eq!(Places::read(&text, other, &SERVICES), None);
        assert_eq!(Places::read("", account, &SERVICES), Some(Places::default()));
        assert_eq!(Places::read("", account, &SERVICES).unwrap().of("team"), None);
    }

    #[test]
    fn what_was_made_up_is_no_cursor() {
        let account = Uuid::from_u128(1);
        let made_up = |service: &str, place| Places([(service.to_owned(), place)].into()).write(account);
        for bad in ["\u{1}", "x", "AQ", &made_up("nobody", (0, 0, 0)), &made_up("team", (0, -1, 0))] {
            assert_eq!(Places::read(bad, account, &SERVICES), None, "{bad}");
        }
    }
}
