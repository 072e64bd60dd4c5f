//! What customers get who write while a team is closed.

use std::collections::BTreeMap;

use diwan_fault::Language;
use serde::{Deserialize, Serialize};

/// The automatic reply of a team.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AutomaticReply {
    pub(crate) enabled: bool,
    /// Own texts by the tag of their language; the built-in one stands for a language without one.
    texts: BTreeMap<String, String>,
}

impl AutomaticReply {
    /// With these texts, each language at most once.
    pub(crate) fn new(enabled: bool, texts: impl IntoIterator<Item = (Language, String)>) -> Self {
        let texts = texts.into_iter().map(|(language, text)| (language.tag().to_owned(), text)).collect();
        Self { enabled, texts }
    }

    /// Whether nobody ever set it.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The own texts with the tags of their languages.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(language, text)| (language.as_str(), text.as_str()))
    }
}
