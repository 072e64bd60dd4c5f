//! Pages of a list: opaque tokens that carry the sort key of the last entry and a digest of what the list was asked for.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use diwan_fault::Fields;
use diwan_proto::common::v1::{PageInfo, PageRequest};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

const DEFAULT_SIZE: i32 = 50;
const LARGEST_SIZE: i32 = 200;
/// The first byte of a token; another layout takes another number.
const VERSION: u8 = 1;
const DIGEST: usize = 8;

/// One page: how much of a list to fetch and after which entry. `K` is the sort key, which must be unique in the list,
/// e.g. `(String, Uuid)` for a list by name.
///
/// A token says where to go on and grants nothing: whoever forges one starts somewhere else in a list that he may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    size: usize,
    after: Option<K>,
    list: [u8; DIGEST],
}

impl<K: Serialize + DeserializeOwned> Page<K> {
    /// Reads the request's `page`. `list` is what the list was asked for, e.g. `("ListMembers", team_id)`: a token of
    /// another list is refused, as is a size beyond 200.
    pub fn read(fields: &mut Fields, list: &impl Serialize, request: Option<&PageRequest>) -> Self {
        let list = digest(list);
        let Some(request) = request else { return Self { size: size(0), after: None, list } };
        let asked = fields.number("page.size", request.size, 0..=LARGEST_SIZE);
        let mut page = Self { size: size(asked), after: None, list };
        if !request.token.is_empty() {
            page.after = page.decode(&request.token);
            if page.after.is_none() {
                fields.refuse("page.token", "PAGE_TOKEN_INVALID", &[]);
            }
        }
        page
    }

    /// The same with at most so many entries, and one at least: where more of them would be too much for an answer.
    #[must_use]
    pub fn at_most(self, entries: i64) -> Self {
        let entries = usize::try_from(entries).unwrap_or_default().max(1);
        Self { size: self.size.min(entries), ..self }
    }

    /// The sort key after which the page begins; `None` at the beginning of the list.
    pub fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// For the statement's `limit`: one entry more than the page has, which shows whether the list goes on.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Takes what a statement with [`Page::limit`] returned, and gives the page's entries and the way to the next page.
    pub fn finish<R>(&self, mut rows: Vec<R>, key: impl FnOnce(&R) -> K) -> (Vec<R>, PageInfo) {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        let last = rows.last().filter(|_| more);
        let next_token = last.map(|row| self.encode(&key(row))).unwrap_or_default();
        (rows, PageInfo { next_token })
    }

    fn encode(&self, key: &K) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.list);
        bytes.extend(json(key));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(&self, token: &str) -> Option<K> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let key = bytes.strip_prefix(&[VERSION])?.strip_prefix(&self.list)?;
        serde_json::from_slice(key).ok()
    }
}

fn size(asked: i32) -> usize {
    usize::try_from(if asked == 0 { DEFAULT_SIZE } else { asked }).unwrap_or_default()
}

fn digest(list: &impl Serialize) -> [u8; DIGEST] {
    let full = Sha256::digest(json(list));
    std::array::from_fn(|index| full[index])
}

#[expect(clippy::expect_used, reason = "tuples of strings, numbers and ids always have a JSON form")]
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON form")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Key = (String, i64);

    fn read(list: &str, size: i32, token: &str) -> (Page<Key>, Vec<String>) {
        let mut fields = Fields::new();
        let request = PageRequest { size, token: token.to_owned() };
        let page = Page::read(&mut fields, &list, Some(&request));
        let refused = fields.finish().err();
        let names = refused.iter().flat_map(|fault| fault.fields().iter().map(|field| field.field.clone()));
        (page, names.collect())
    }

    fn token(list: &str, key: &Key) -> String {
        read(list, 1, "").0.finish(vec![key.clone(), key.clone()], Clone::clone).1.next_token
    }

    #[test]
    fn a_page_without_a_size_has_50_entries_and_none_has_more_than_200() {
        assert_eq!(Page::<Key>::read(&mut Fields::new(), &"teams", None).limit(), 51);
        assert_eq!(read("teams", 0, "").0.limit(), 51);
        assert_eq!(read("teams", 200, "").0.limit(), 201);
        for size in [-1, 201, i32::MAX] {
            assert_eq!(read("teams", size, "").1, ["page.size"]);
        }
    }

    #[test]
    fn the_last_page_has_no_token_even_when_it_is_full() {
        let page = read("teams", 2, "").0;
        let keys = |count: i64| (0..count).map(|n| (String::new(), n)).collect::<Vec<_>>();
        assert_eq!(page.finish(keys(2), Clone::clone).1.next_token, "");
        assert_eq!(page.finish(keys(0), Clone::clone).1.next_token, "");
        let (rows, info) = page.finish(keys(3), Clone::clone);
        assert_eq!(rows.len(), 2);
        assert_eq!(read("teams", 2, &info.next_token).0.after(), Some(&(String::new(), 1)));
    }

    #[test]
    fn a_page_of_fewer_entries_than_asked_for_has_one_at_least_and_leads_on() {
        let asked = read("teams", 3, "").0;
        for (fit, limit) in [(-1, 2), (0, 2), (1, 2), (2, 3), (3, 4), (100, 4)] {
            assert_eq!(asked.clone().at_most(fit).limit(), limit);
        }
        let page = asked.at_most(1);
        let (rows, info) = page.finish(vec![(String::new(), 0), (String::new(), 1)], Clone::clone);
        assert_eq!(rows.len(), 1);
        assert_eq!(read("teams", 3, &info.next_token).0.after(), Some(&(String::new(), 0)));
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let foreign = token("members of team 1", &("a".into(), 1));
        assert_eq!(read("members of team 2", 1, &foreign).1, ["page.token"]);
    }

    #[test]
    fn a_token_whose_key_has_another_shape_is_refused() {
        let page = Page::<i64>::read(&mut Fields::new(), &"teams", None);
        let other = BASE64_URL_SAFE_NO_PAD.encode([&[VERSION][..], &page.list, br#""text""#].concat());
        assert_eq!(read("teams", 1, &other).1, ["page.token"]);
    }

    proptest! {
        #[test]
        fn a_token_leads_to_where_it_was_given(name in ".*", id: i64) {
            let key = (name, id);
            let (page, refused) = read("teams", 1, &token("teams", &key));
            prop_assert_eq!((page.after(), refused.len()), (Some(&key), 0));
        }

        #[test]
        fn no_text_that_is_not_a_token_breaks_the_reading(text in "\\PC+") {
            let (page, refused) = read("teams", 1, &text);
            prop_assert_eq!(page.after(), None);
            prop_assert_eq!(refused, ["page.token"]);
        }
    }
}
