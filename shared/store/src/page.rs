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
