//! Automatic replies as messages.

use diwan_fault::{Fields, Language};
use diwan_proto::team::v1 as proto;

use crate::domain::AutomaticReply;

/// The longest text, in characters.
const LONGEST: usize = 2000;

/// Reads one; absent means that there is none.
pub(super) fn automatic_reply(
    fields: &mut Fields,
    field: &str,
    message: Option<&proto::AutomaticReply>,
) -> AutomaticReply {
    let Some(message) = message else { return AutomaticReply::default() };
    // A list that is longer has a language twice, or is all wrong.
    if !fields.entries(&format!("{field}.texts"), message.texts.len(), 0..=Language::ALL.len()) {
        return AutomaticReply::default();
    }
    let mut texts = Vec::new();
    let mut left = Language::ALL.to_vec();
    for (place, text) in message.texts.iter().enumerate() {
        let at = |part: &str| format!("{field}.texts[{place}].{part}");
        let language = fields.language(&at("language"), &text.language);
        let free = left.contains(&language);
        left.retain(|other| *other != language);
        if !free && language.tag() == text.language {
            let tags: Vec<&str> = left.iter().map(|language| language.tag()).collect();
            fields.refuse(&at("language"), "FIELD_VALUE", &[("values", tags.join(", "))]);
        }
        texts.push((language, fields.text(&at("text"), &text.text, 1..=LONGEST)));
    }
    AutomaticReply::new(message.enabled, texts)
}
