//! The texts that people read, by reason and language, from `texts/*.toml`.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use serde::Deserialize;

use crate::Language;

#[derive(Deserialize)]
struct Texts {
    ar: String,
    en: String,
    es: String,
    pt: String,
}

const FILES: [&str; 8] = [
    include_str!("../texts/common.toml"),
    include_str!("../texts/identity.toml"),
    include_str!("../texts/team.toml"),
    include_str!("../texts/conversation.toml"),
    include_str!("../texts/routing.toml"),
    include_str!("../texts/mailbox.toml"),
    include_str!("../texts/billing.toml"),
    include_str!("../texts/gateway.toml"),
];

#[expect(clippy::expect_used, reason = "the files are part of the binary, and a test reads every one of them")]
static CATALOGUE: LazyLock<HashMap<String, Texts>> = LazyLock::new(|| {
    FILES.iter().flat_map(|file| toml::from_str::<HashMap<String, Texts>>(file).expect("texts/*.toml")).collect()
});

/// The longest value that a refusal repeats, bytes.
const LONGEST: usize = 1000;

/// As much of `value` as a refusal has room for: it may be what a caller sent, a whole message of it.
pub(crate) fn shortened(value: &str) -> Cow<'_, str> {
    if value.len() <= LONGEST {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("{}…", &value[..value.floor_char_boundary(LONGEST)]))
}

/// Whether there are texts for `reason`.
pub(crate) fn is_known(reason: &str) -> bool {
    CATALOGUE.contains_key(reason)
}

/// The text for `reason` with `{key}` replaced from the metadata; the reason itself where there is no text.
pub(crate) fn text(reason: &str, language: Language, metadata: &[(&'static str, String)]) -> String {
    let Some(texts) = CATALOGUE.get(reason) else { return reason.to_owned() };
    let text = match language {
        Language::Ar => &texts.ar,
        Language::En => &texts.en,
        Language::Es => &texts.es,
        Language::Pt => &texts.pt,
    };
    let filled = metadata.iter().fold(Cow::Borrowed(text.as_str()), |text, (key, value)| {
        Cow::Owned(text.replace(&format!("{{{key}}}"), &shortened(value)))
    });
    filled.into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
    }

    #[test]
    fn every_text_exists_in_four_languages_with_the_same_placeholders_and_no_reason_stands_twice() {
        let mut seen = BTreeSet::new();
        for file in FILES {
            for (reason, texts) in toml::from_str::<HashMap<String, Texts>>(file).unwrap() {
                for text in [&texts.ar, &texts.es, &texts.pt] {
                    assert!(!text.is_empty(), "{reason}");
                    assert_eq!(placeholders(text), placeholders(&texts.en), "{reason}");
                }
                assert!(texts.ar.chars().any(|c| ('\u{600}'..'\u{700}').contains(&c)), "{reason}: no Arabic");
                assert!(seen.insert(reason.clone()), "{reason} stands twice");
            }
        }
    }
}
