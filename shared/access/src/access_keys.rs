//! The public keys of users' access tokens, as far as identity has told.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use diwan_proto::identity::v1::KeySet;
use jiff::Timestamp;
use jsonwebtoken::DecodingKey;

/// The keys that one process accepts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AccessKeys(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<String, Arc<DecodingKey>>,
    set: KeySet,
    as_of: Option<Timestamp>,
}

impl AccessKeys {
    /// Takes in the whole set as it was at `as_of`: what is not in it is refused from now on. One from before the set that is
    /// known changes nothing: of two replicas of identity one may be behind, and a withdrawn key must not come back.
    pub fn learn(&self, set: &KeySet, as_of: Timestamp) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_of.is_some_and(|known| as_of < known) {
            return;
        }
        known.as_of = Some(as_of);
        if known.set != *set {
            let keys = set.keys.iter();
            let readable =
                keys.filter_map(|key| Some((key.kid.clone(), DecodingKey::from_ed_components(&key.x).ok()?)));
            known.keys = readable.map(|(kid, key)| (kid, Arc::new(key))).collect();
            known.set = set.clone();
        }
    }

    /// The set that is known.
    pub fn set(&self) -> KeySet {
        self.0.read().unwrap_or_else(PoisonError::into_inner).set.clone()
    }

    pub(crate) fn find(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.get(kid).cloned()
    }
}
